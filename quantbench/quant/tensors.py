"""Helpers on tensors: flat memory without copies, and the tensors in the arguments of any function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

# Elements handled at once where a tensor is passed over several times: 4 MB, which stay in the processor's last cache.
CHUNK = 1 << 20


def flatten_dense(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The values of x as one dimension, in memory order, and what gives such a flat tensor the shape of x again.

    The flat tensor is a view where x is dense (contiguous, channels last, transposed) and a copy elsewhere.
    """
    if x.is_contiguous():
        return x.reshape(-1), lambda flat: flat.view(x.shape)
    order = sorted(range(x.ndim), key=lambda d: x.stride(d), reverse=True)
    permuted = x.permute(order)
    if not permuted.is_contiguous():
        return x.reshape(-1), lambda flat: flat.view(x.shape)
    inverse = sorted(range(x.ndim), key=lambda d: order[d])
    return permuted.reshape(-1), lambda flat: flat.view(permuted.shape).permute(inverse)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
