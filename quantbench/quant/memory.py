"""Tensors as flat memory, without copies where the values lie densely in any order of dimensions."""

from __future__ import annotations

from collections.abc import Callable

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
