"""Which elements of a tensor share one scale (section 3.3 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor."""


@dataclass(frozen=True)
class PerChannel:
    """One scale for each output channel of a weight.

    `axis` is the output channel's: 0 for convolution and linear, 1 for transposed convolution. With `groups` > 1 a
    transposed convolution's weight is [inputs, outputs/groups, ...], so that a channel is a pair of (block of axis 0,
    index on axis 1). `stacked` is a stack of matrices, as of experts: each has channels of its own.
    """

    axis: int
    groups: int = 1
    stacked: bool = False


Granularity = PerTensor | PerChannel


def reduce_min_max(x: Tensor, granularity: Granularity) -> tuple[Tensor, Tensor]:
    """The least and the largest value that share a scale, each of a shape that broadcasts against x."""
    if isinstance(granularity, PerTensor):
        low, high = torch.aminmax(x)
        return low, high
    blocks, kept = _blocks(x, granularity)
    reduced = [d for d in range(blocks.ndim) if d not in kept]
    low, high = blocks.amin(reduced, keepdim=True), blocks.amax(reduced, keepdim=True)
    return _spread(low, x, granularity), _spread(high, x, granularity)


def _blocks(x: Tensor, granularity: PerChannel) -> tuple[Tensor, set[int]]:
    axis = granularity.axis % x.ndim
    if granularity.groups == 1:
        return x, {axis, *(range(x.ndim - 2) if granularity.stacked else ())}
    return split_groups(x, granularity.groups), {0, axis + 1}


def split_groups(x: Tensor, groups: int) -> Tensor:
    """[groups * n, ...] as [groups, n, ...]."""
    return x.reshape(groups, -1, *x.shape[1:])


def _spread(reduced: Tensor, x: Tensor, granularity: PerChannel) -> Tensor:
    if granularity.groups == 1:
        return reduced
    return reduced.expand(-1, x.shape[0] // granularity.groups, *reduced.shape[2:]).flatten(0, 1)
