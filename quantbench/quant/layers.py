"""Finds the layers and sites of any module by running it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from quantbench.quant.granularity import PerChannel
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.intercept.names import Names, is_computed
from quantbench.quant.intercept.operations import Call, Operand


@dataclass(frozen=True)
class Site:
    """One operand of a layer: `operand` is input, weight, lhs or rhs.

    For weights, `weight` is the tensor itself, `channel` its granularity "per channel", and `identity` tells it from
    others of the module; for activations they are None and "". Several weights of one operand, as experts have, are
    several sites: `w.weight`, `w.weight[1]` and so on.
    """

    name: str
    operand: str
    shape: tuple[int, ...]
    channel: PerChannel | None = None
    weight: Tensor | None = field(default=None, repr=False, compare=False)
    identity: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True)
class Layer:
    """One compute-intensive operation at one place. A module that is called several times is one layer.

    `parameters` counts its weights and bias; `macs` the multiply-accumulates of all its calls in the run that found it,
    0 where only calibration met it.
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
    found = Found(module)

    def record(call: Call) -> Tensor:
        output = call.run()
        found.add(call, _macs(call, output))
        return output

    with torch.no_grad(), intercept(module, record, guard=True, residual_adds=residual_adds):
        module(*example)
    return found.layers()


@dataclass
class _Entry:
    kind: str
    macs: int = 0
    operands: dict[tuple[str, str], Site] = field(default_factory=dict)  # by base and identity
    parameters: dict[object, tuple[str, int]] = field(default_factory=dict)  # with the base of what is computed


class Found:
    """The layers that passes over one module meet."""

    def __init__(self, module: nn.Module) -> None:
        """Nothing is met yet."""
        self._names = Names.of(module)
        self._entries: dict[str, _Entry] = {}

    def add(self, call: Call, macs: int = 0) -> None:
        """Note one execution of a layer."""
        entry = self._entries.get(call.layer)
        if entry is None:
            entry = self._entries[call.layer] = _Entry(call.kind)
        entry.macs += macs
        fresh = False
        for operand in call.operands:
            if (operand.base, operand.identity) not in entry.operands:
                entry.operands[operand.base, operand.identity], fresh = _site(operand), True
        if fresh:
            entry.parameters |= _parameters(call)

    def layers(self) -> list[Layer]:
        """All that was met, in the order of the first execution."""
        return [
            Layer(name, entry.kind, tuple(self._sites(entry)), self._count(entry), entry.macs)
            for name, entry in self._entries.items()
        ]

    def _count(self, entry: _Entry) -> int:
        return sum(count for base, count in entry.parameters.values() if base not in self._names.varying)

    def _sites(self, entry: _Entry) -> Iterable[Site]:
        """What is computed is one activation where it varied in any pass."""
        named: dict[str, Site] = {}
        for (base, identity), site in entry.operands.items():
            if base in self._names.varying and is_computed(identity):
                site, identity = replace(site, channel=None, weight=None, identity=""), ""
            name = self._names.site(base, identity)
            named.setdefault(name, replace(site, name=name))
        order = list(dict.fromkeys(site.operand for site in named.values()))
        return sorted(named.values(), key=lambda site: order.index(site.operand))


def union(layers: Iterable[Layer], met: Iterable[Layer]) -> list[Layer]:
    """The layers that calibration met, with shapes and multiply-accumulates of those found on an example."""
    found = {layer.name: layer for layer in layers}
    united = []
    for layer in met:
        if known := found.get(layer.name):
            same = {(site.operand, site.identity): site for site in known.sites}
            sites = []
            for site in layer.sites:
                twin = same.get((site.operand, site.identity))
                sites.append(replace(twin, name=site.name) if twin else site)
            layer = replace(layer, sites=tuple(sites), macs=known.macs)
        united.append(layer)
    return united


def _site(operand: Operand) -> Site:
    weight = operand.tensor.detach() if operand.is_weight else None
    return Site(operand.base, operand.name, tuple(operand.tensor.shape), operand.channel, weight, operand.identity)


def _parameters(call: Call) -> dict[object, tuple[str, int]]:
    """How many parameters each weight and the bias have, and the site whose weight they are."""
    weights = [o for o in call.operands if o.is_weight]
    biases = [call.bias] if weights and call.bias is not None else []
    if call.kind == "matmul":  # what is added may be an activation, and a vector of weights has no channel
        weights = [o for o in call.operands if isinstance(o.tensor, nn.Parameter) or o.is_weight]
        biases = [bias for bias in biases if isinstance(bias, nn.Parameter)]
    found: dict[object, tuple[str, int]] = {
        o.identity or id(o.tensor): (o.base if is_computed(o.identity) else "", o.tensor.numel()) for o in weights
    }
    return found | {("bias", id(b) if isinstance(b, nn.Parameter) else 0): ("", b.numel()) for b in biases}


def _macs(call: Call, output: Tensor) -> int:
    first, second = (o.tensor for o in call.operands)
    if call.kind == "add":
        return 0
    if call.kind == "matmul":
        return output.numel() * first.shape[-1]
    if call.kind.startswith("conv_transpose"):
        return first.numel() * second[0].numel()
    return output.numel() * (second[0].numel() if second.ndim > 1 else second.numel())
