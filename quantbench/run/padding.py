"""Finds out whether the answers of a network depend on what fills up a batch beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from quantbench.errors import in_one_line, ran_out
from quantbench.networks.network import Item

ROUNDING = 1e-4
"""Relative difference up to which answers are the same: the order of a sum decides the last bits."""


def trouble_with_padding(
    run: Callable[..., Tensor], items: Sequence[Item], stack: Callable[[Sequence[Item]], Item]
) -> str | None:
    """What is wrong with the answers to `items` in one batch, which `stack` fills up, beside those to each alone.

    None where they are the same up to rounding, or where an item cannot be run alone either.
    """
    with torch.inference_mode():
        try:
            alone = [run(*stack([item])).float() for item in items]
        except Exception as error:
            if ran_out(error):
                raise
            return None  # the pass itself will say where
        try:
            together = run(*stack(items)).float()
        except Exception as error:
            if ran_out(error):
                raise
            return f"it cannot be run on a batch that is filled up ({in_one_line(error)[:200]})"
        parts = zip(alone, torch.split(together, 1), strict=True)
        apart, size = torch.tensor([[float(x.norm()) for x in _difference(*both)] for both in parts]).norm(dim=0)
    if not apart > ROUNDING * size:
        return None
    return f"its answers depend on what fills up a batch (by {float(apart / size):.1%} in float)"


def _difference(alone: Tensor, together: Tensor) -> tuple[Tensor, Tensor]:
    """How far two answers are apart, and the first; positions behind the shorter of both count as zeros."""
    if alone.dim() > 2:
        longest = max(alone.shape[1], together.shape[1])
        alone, together = (
            F.pad(each, (*[0, 0] * (each.dim() - 2), 0, longest - each.shape[1])) for each in (alone, together)
        )
    return together - alone, alone
