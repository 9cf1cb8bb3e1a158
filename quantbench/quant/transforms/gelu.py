"""GELU with its output clipped from above, so that one outlier does not stretch the range of what comes after.

GELU is never below -0.17, so only the upper end needs a bound. With 10 it is GELU10 of arXiv 2004.09602, which
transformers has as the activation gelu_10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from quantbench.quant import QuantizationError

_GELU = frozenset(
    {F.gelu, torch._C._nn.gelu_, torch.ops.aten.gelu, torch.ops.aten.gelu_}  # type: ignore[attr-defined]
)


class _Clipping(TorchFunctionMode):
    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound
        self.calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        return self.clip(output) if func in _GELU else output

    def clip(self, output: Tensor) -> Tensor:
        self.calls += 1
        return output.clamp_(max=self.bound)


@contextmanager
def clip_gelu(module: nn.Module, bound: float | None) -> Iterator[None]:
    """While this is open, every GELU that `module` runs gives min(gelu(x), bound); None leaves all as it is.

    It is F.gelu in any approximation, and modules without parameters whose class has GELU in its name
    (transformers' NewGELUActivation and QuickGELUActivation write the formula out).

    Raises:
        QuantizationError: (on closing) no GELU was run.
    """
    if bound is None:
        yield
        return
    clipping = _Clipping(bound)
    before: list[int] = []

    def enter(_: nn.Module, __: Any) -> None:
        before.append(clipping.calls)

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        clipped_inside = before.pop() < clipping.calls
        return clipping.clip(output) if isinstance(output, Tensor) and not clipped_inside else None

    handles = []
    for child in module.modules():
        if "gelu" in type(child).__name__.lower() and next(child.parameters(), None) is None:
            handles.append(child.register_forward_pre_hook(enter))
            handles.append(child.register_forward_hook(leave, always_call=True))
    try:
        with clipping:
            yield
    finally:
        for handle in handles:
            handle.remove()
    if not clipping.calls:
        raise QuantizationError(
            f"gelu_bound={bound:g}: the network runs no GELU (F.gelu, or a module with GELU in its name); leave it null"
        )
