"""`quantbench inspect`: every layer of a network, with its sites, parameters and multiply-accumulates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.console import folded, is_terminal, row, show, table
from quantbench.sweep.compose import compose_one, typed

if TYPE_CHECKING:
    from quantbench.quant.layers import Layer

HELP = """usage: quantbench inspect [--config-dir FOLDER] [OVERRIDE ...]

Shows every layer of a network by its name in the module, its sites with their shapes, its parameters and its
multiply-accumulates (MACs) for one sample. It needs no data, and with model.weights=random no weights:

  quantbench inspect model=resnet50 model.weights=random"""


def main(arguments: list[str]) -> int:
    """Prints the layers of the network that the overrides choose."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    settings = typed(compose_one(arguments, "inspect"))

    from quantbench.networks import load
    from quantbench.quant.layers import find_layers

    network = load({**settings.model, "seed": settings.seed})
    layers = find_layers(network.module, *network.example, residual_adds=settings.residual_adds)
    result = table("layer", "kind", "sites", "parameters", "MACs", right=("parameters", "MACs"))
    for layer in layers:
        row(result, layer.name, layer.kind, _sites(layer), f"{layer.parameters:,}", f"{layer.macs:,}")
    show(result)
    parameters = sum(parameter.numel() for parameter in network.module.parameters())
    folded(totals(layers, parameters))
    return 0


def totals(layers: list[Layer], parameters: int) -> str:
    """The last line: what the whole network has."""
    sites = sum(len(layer.sites) for layer in layers)
    giga = sum(layer.macs for layer in layers) / 1e9
    macs = f"{giga:.2f}" if giga >= 1 else f"{giga:.2g}"
    return f"{len(layers)} layers, {sites} sites, {parameters} parameters, {macs} G MACs"


def _sites(layer: Layer) -> str:
    texts = [f"{site.operand} {'x'.join(map(str, site.shape)) or 'scalar'}" for site in layer.sites]
    return ("\n" if is_terminal() else ", ").join(texts)
