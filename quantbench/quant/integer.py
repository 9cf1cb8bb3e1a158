"""The exact integer reference of a layer: the proof that simulation computes what integer hardware would.

Operands are true integers and sums are exact: float64 holds every integer below 2^53, far above the int32 that the
hardware accumulates in, so the layer's own operation in float64 is integer arithmetic. That the sums fit int32 is
checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from quantbench.quant import mapping as maps
from quantbench.quant.granularity import PerChannel, split_groups
from quantbench.quant.intercept.operations import Call, Operand

INT32_MAX = 2**31 - 1


def accumulate(call: Call, mappings: Mapping[str, maps.Mapping]) -> Tensor:
    """The int32 accumulator of the layer's output (int64 tensor of the output's shape), without bias.

    The zero points are taken off the operands before they are multiplied, which real 0 padding needs.

    Raises:
        OverflowError: a sum does not fit int32.
    """
    first, second = (_integers(operand, mappings) for operand in call.operands)
    no_bias = None if call.bias is None else torch.zeros_like(call.bias, dtype=torch.float64)
    keywords = {key: value for key, value in call.keywords.items() if key not in ("alpha", "beta")}
    sums = replace(call, keywords=keywords).run(first, second, no_bias).detach()
    if sums.numel() and float(sums.abs().max()) > INT32_MAX:
        raise OverflowError(f"layer {call.layer}: a sum of products does not fit int32")
    return sums.to(torch.int64)


def integer_output(call: Call, mappings: Mapping[str, maps.Mapping]) -> Tensor:
    """The layer's real output (float64): the accumulator divided by both scales, plus the float bias."""
    sums = accumulate(call, mappings).double()
    for operand in call.operands:
        scale = _output_scale(call, operand, mappings[operand.site].scale.double(), sums.ndim)
        sums = torch.where(scale > 0, sums / torch.where(scale > 0, scale, 1.0), 0.0)
    sums = sums * float(call.keywords.get("alpha", 1))
    if call.bias is None:
        return sums
    if call.operation.bias == (2, "bias") and call.kind != "linear":
        spatial = call.operands[1].tensor.ndim - 2
        return sums + call.bias.double().view(-1, *[1] * spatial)
    return sums + float(call.keywords.get("beta", 1)) * call.bias.double()


def _integers(operand: Operand, mappings: Mapping[str, maps.Mapping]) -> Tensor:
    mapping = mappings[operand.site]
    q = maps.quantize(operand.tensor, mapping) - mapping.zero_point
    return torch.where(mapping.scale > 0, q, 0.0).double()


def _output_scale(call: Call, operand: Operand, scale: Tensor, ndim: int) -> Tensor:
    """The scale of an operand, shaped to broadcast against the layer's output."""
    if scale.numel() == 1:
        return scale.reshape(())
    assert operand.channel is not None
    if call.kind == "matmul":
        # A product with a vector has no last dimension for the vector's side.
        return scale.squeeze(-1) if call.operands[1].tensor.ndim == 1 else scale
    channels = _by_channel(scale, operand.channel)
    spatial = 0 if call.kind == "linear" else operand.tensor.ndim - 2
    return channels.view(-1, *[1] * spatial)


def _by_channel(scale: Tensor, channel: PerChannel) -> Tensor:
    """One scale an output channel, in the order of the output's channels."""
    if channel.groups == 1:
        return scale.flatten()
    blocks = split_groups(scale, channel.groups)
    return blocks[:, 0].flatten()
