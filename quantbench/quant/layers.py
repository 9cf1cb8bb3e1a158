"""Finds the layers and sites of any module by running it once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from quantbench.quant.granularity import PerChannel
from quantbench.quant.intercept.mode import Call, Operand, intercept


@dataclass(frozen=True)
class Site:
    """One operand of a layer: `operand` is input, weight, lhs or rhs.

    For weights, `weight` is the tensor itself and `channel` its granularity "per channel"; for activations both are
    None.
    """

    name: str
    operand: str
    shape: tuple[int, ...]
    channel: PerChannel | None = None
    weight: Tensor | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Layer:
    """One compute-intensive operation at one place. A module that is called several times is one layer.

    `parameters` counts weight and bias; `macs` the multiply-accumulates of all its calls in the run that found it.
    """

    name: str
    kind: str
    sites: tuple[Site, ...]
    parameters: int
    macs: int


def find_layers(module: nn.Module, *example: Tensor, residual_adds: bool = False) -> list[Layer]:
    """The layers of `module` in the order of their first execution on `example` (a batch of one).

    With `residual_adds`, residual additions are layers too.
    """
    layers: dict[str, Layer] = {}

    def record(call: Call) -> Tensor:
        output = call.run()
        macs = _macs(call, output)
        if known := layers.get(call.layer):
            layers[call.layer] = replace(known, macs=known.macs + macs)
        else:
            sites = (_site(operand) for operand in call.operands)
            layers[call.layer] = Layer(call.layer, call.kind, tuple(sites), _parameters(call), macs)
        return output

    with torch.no_grad(), intercept(module, record, guard=True, residual_adds=residual_adds):
        module(*example)
    return list(layers.values())


def _site(operand: Operand) -> Site:
    weight = operand.tensor.detach() if operand.is_weight else None
    return Site(operand.site, operand.name, tuple(operand.tensor.shape), operand.channel, weight)


def _parameters(call: Call) -> int:
    weights = [o.tensor for o in call.operands if o.is_weight]
    biases = [call.bias] if weights and call.bias is not None else []
    if call.kind == "matmul":  # what is added may be an activation, and a vector of weights has no channel
        weights = [o.tensor for o in call.operands if isinstance(o.tensor, nn.Parameter) or o.is_weight]
        biases = [bias for bias in biases if isinstance(bias, nn.Parameter)]
    return sum(t.numel() for t in (*weights, *biases))


def _macs(call: Call, output: Tensor) -> int:
    first, second = (o.tensor for o in call.operands)
    if call.kind == "add":
        return 0
    if call.kind == "matmul":
        return output.numel() * first.shape[-1]
    if call.kind.startswith("conv_transpose"):
        return first.numel() * second[0].numel()
    return output.numel() * (second[0].numel() if second.ndim > 1 else second.numel())
