"""Refuses compute-intensive operations that no layer accounts for: an error is better than a layer left in float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from quantbench.quant import QuantizationError
from quantbench.quant.intercept.modules import ModuleStack

# What layers become below autograd. One that runs outside of every layer was not seen.
_MULTIPLYING = frozenset(
    {
        *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "addbmm", "dot", "vdot", "_addmm_activation", "_grouped_mm"),
        *("addmm_", "addmv_", "baddbmm_", "addbmm_", "_sparse_mm", "_sparse_addmm", "_scaled_mm", "linalg_multi_dot"),
        *("convolution", "_convolution", "conv_tbc", "deform_conv2d", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"),
        *("_transformer_encoder_layer_fwd", "grouped_mm_fallback"),
    }
)
# Fused attention: _scaled_dot_product_flash_attention, _efficient_attention_forward, flex_attention, those of packages.
_ATTENTION = ("attention", "attn")


class Guard(TorchDispatchMode):
    """Refuses such operations unless `handling()`, which is true while a layer is executed."""

    supports_higher_order_operators = True

    def __init__(self, stack: ModuleStack, handling: Callable[[], bool]) -> None:
        """Look at the modules that run in `stack` to say where an operation was met."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack, self._handling = stack, handling

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, or refuse it."""
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else func.name()
        fused = any(word in name for word in _ATTENTION)
        if (fused or name in _MULTIPLYING) and not self._handling():
            advice = "the call that runs it is not known; write it as linear, convolution or matmul"
            if fused:
                advice = "its two matrix products are not visible; choose the attention implementation sdpa or eager"
            raise QuantizationError(f"{name} in module {self._stack.innermost!r} cannot be quantized: {advice}")
        return func(*args, **(kwargs or {}))
