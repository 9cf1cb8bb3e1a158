"""How what calibration met is kept on disk beside its histograms: text, from which layers and names come back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor, nn

from quantbench.quant.granularity import PerChannel
from quantbench.quant.histogram import Histogram
from quantbench.quant.intercept.names import Names, is_computed
from quantbench.quant.layers import Layer, Site
from quantbench.quant.observe import Observations


def packed(observations: Observations, module: nn.Module) -> str:
    """The layers that ran, without their weights, and the names that `module` has for its operations."""
    names = asdict(Names.of(module)) | {"varying": sorted(Names.of(module).varying)}
    layers = [asdict(replace(layer, sites=())) | {"sites": _sites(layer)} for layer in observations.layers]
    return json.dumps({"names": names, "layers": layers})


def unpacked(
    text: str, histograms: Mapping[str, Histogram], module: nn.Module, found: Iterable[Layer]
) -> Observations | None:
    """What `packed` packed of a module with the same weights, which gets its names.

    Computed weights are taken from the layers `found` on an example; None where one of them did not run there.
    """
    content = json.loads(text)
    layers = [Layer(**{**layer, "sites": tuple(_site(site) for site in layer["sites"])}) for layer in content["layers"]]
    layers = with_weights(layers, module, found)
    if any(site.channel and site.weight is None for layer in layers for site in layer.sites):
        return None
    Names(**{**content["names"], "varying": set(content["names"]["varying"])}).keep(module)
    return Observations(histograms, layers)


def with_weights(layers: Iterable[Layer], module: nn.Module, found: Iterable[Layer]) -> list[Layer]:
    """The layers with the weights that `module` has now; computed ones are those `found` on an example."""
    parameters = dict(module.named_parameters())
    computed = {(layer.name, s.operand, s.identity): s.weight for layer in found for s in layer.sites}

    def weight(layer: Layer, site: Site) -> Tensor | None:
        if is_computed(site.identity):
            return computed.get((layer.name, site.operand, site.identity), site.weight)
        name, _, frame = site.identity.partition(" ")
        if name not in parameters:
            return site.weight
        if not frame:
            return parameters[name].detach()
        offset, rest = frame.split(" ", 1)
        shape, stride = json.loads(f"[{rest.replace('] [', '], [')}]")
        return parameters[name].detach().as_strided(shape, stride, int(offset))

    return [
        replace(layer, sites=tuple(replace(s, weight=weight(layer, s)) if s.channel else s for s in layer.sites))
        for layer in layers
    ]


def _sites(layer: Layer) -> list[dict[str, Any]]:
    return [asdict(replace(site, weight=None)) for site in layer.sites]


def _site(values: dict[str, Any]) -> Site:
    channel = None if values["channel"] is None else PerChannel(**values["channel"])
    return Site(**{**values, "shape": tuple(values["shape"]), "channel": channel})
