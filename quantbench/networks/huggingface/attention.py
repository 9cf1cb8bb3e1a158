"""Attention that can be seen: a fused kernel hides the two matrix products that are to be quantized."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from torch import nn

from quantbench.errors import UserError

# What intercept sees the products of. All others of transformers (flex_attention, flash_attention_2, paged ones,
# kernels of the hub) compute the same in one kernel.
VISIBLE = ("sdpa", "eager")


def visible_attention(module: nn.Module) -> None:
    """Switch every network of the transformers library in `module` to an attention whose products are visible.

    The outputs stay the same up to rounding. Other modules are left as they are. See
    https://huggingface.co/docs/transformers/attention_interface.

    Raises:
        UserError: a network can be switched to none of them.
    """
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "set_attn_implementation")]
    for part in parts:
        for implementation in VISIBLE:
            if _chosen(part) not in VISIBLE:
                with suppress(ValueError):  # the network has no such implementation
                    part.set_attn_implementation(implementation)
        if _chosen(part) not in VISIBLE:
            raise UserError(
                f"{type(part).__name__} keeps its attention {_chosen(part)}, whose matrix products are not visible; "
                "load it with attn_implementation=sdpa or eager"
            )


def _chosen(part: Any) -> str:
    return str(getattr(part.config, "_attn_implementation", None) or "eager")
