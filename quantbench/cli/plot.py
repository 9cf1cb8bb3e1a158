"""`quantbench plot`: one histogram with its calibrated ranges, or the figures that need no measurement."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.console import folded, row, show, table
from quantbench.errors import UserError, nearest
from quantbench.sweep.compose import compose_one, typed

if TYPE_CHECKING:
    from quantbench.quant.histogram import Histogram
    from quantbench.report.figures.figure import Figure
    from quantbench.sweep.cell import Cell

HELP = """usage: quantbench plot histogram site=SITE [out=FOLDER] [OVERRIDE ...]
       quantbench plot paper [out=FOLDER]

histogram  the histogram of |x| at an activation site over the calibration samples, with the range of every calibrator;
           OVERRIDE as in `quantbench run` chooses network, task and bits
paper      the paper's figures 1, 4 and 7, which need no network

  site=SITE    such as layer3.0.conv1.input; a layer's name alone means its input; `quantbench inspect` lists them
  out=FOLDER   where the .png and .svg go (default: the working folder)

  quantbench plot histogram model=resnet20_fashion site=conv1"""

KINDS = ("histogram", "paper")


def main(arguments: list[str]) -> int:
    """Draws what the first argument names."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    if not arguments or arguments[0] not in KINDS:
        asked = arguments[0] if arguments else ""
        raise UserError(f"no plot {asked}: {nearest(asked, KINDS)}" if asked else "plot what? histogram or paper")
    kind, *rest = arguments
    rest, out = _taken(rest, "out")
    rest, site = _taken(rest, "site")
    folder = Path(out or ".")
    if kind == "paper":
        if rest or site:
            raise UserError(
                f"cannot read {rest[0] if rest else 'site='}: `quantbench plot paper` takes out=FOLDER only"
            )
        return _plot_paper(folder)
    return _plot_histogram(rest, site, folder)


def _taken(arguments: list[str], key: str) -> tuple[list[str], str | None]:
    """The arguments without `key=...`, and its value."""
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    if given and not given[-1]:
        raise UserError(f"{key}= is empty: give a value")
    return [a for a in arguments if not a.startswith(f"{key}=")], given[-1] if given else None


def _plot_paper(folder: Path) -> int:
    from quantbench.report.figures.paper import figure1_mapping, figure4_fake_quantization, figure7_gelu_swish

    for draw in (figure1_mapping, figure4_fake_quantization, figure7_gelu_swish):
        _save(draw(), folder)
    return 0


def _plot_histogram(overrides: list[str], wanted: str | None, folder: Path) -> int:
    settings = typed(compose_one(overrides, "plot"))
    if wanted is None:
        listing = f"quantbench inspect model={settings.model['name']}"
        raise UserError(f"site=SITE is missing: `{listing}` lists the layers; a layer's name alone means its input")

    import torch

    from quantbench.sweep.cell import cell_from_settings

    # With activations in float there is still a histogram, and the bits are checked.
    cell = cell_from_settings(replace(settings, activations=True), torch.cuda.is_available())
    network, bits = str(cell.model["name"]), cell.activation_bits or 8
    site, histogram = _histogram(cell, wanted)

    from quantbench.report.figures.figure import stem
    from quantbench.report.figures.histogram import calibrated_ranges, histogram_figure

    ranges = calibrated_ranges(histogram, bits)
    figure = histogram_figure(histogram, ranges, site, network, bits)
    _save(replace(figure, name=f"histogram_{stem(network)}_{stem(site)}"), folder)
    listed = table("calibrator", "range", right=("range",))
    for name, value in ranges.items():
        row(listed, name if name.isalpha() else f"percentile {name}", f"{value:.6g}")
    show(listed)
    return 0


def _histogram(cell: Cell, wanted: str) -> tuple[str, Histogram]:
    """The site that `wanted` means and its histogram over the calibration samples.

    Raises:
        UserError: the network has no such activation site, or weights or data cannot be had.
    """
    from quantbench.run.reference import histograms, load_reference, prepare

    reference = load_reference(cell)
    layers = prepare(reference, *cell.sites).layers  # before the calibration pass, which may take minutes
    sites = [site.name for layer in layers for site in layer.sites if site.weight is None]
    site = find_site(wanted, sites, str(cell.model["name"]))
    return site, histograms(reference, *cell.sites).result[site]


def find_site(wanted: str, sites: Collection[str], network: str) -> str:
    """The activation site of that name, or the input of the layer of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    for name in (wanted, f"{wanted}.input"):
        if name in sites:
            return name
    layers = {name.rpartition(".")[0]: name for name in sites}
    close = [name for name in sites if f".{wanted}." in f".{name}."]
    close = (close or [layers[name] for name in difflib.get_close_matches(wanted.removesuffix(".input"), layers)])[:3]
    advice = f"did you mean {' or '.join(close)}?" if close else f"`quantbench inspect model={network}` lists them"
    what = "weights have no histogram" if wanted.endswith(".weight") else f"{network} has no activation site {wanted}"
    raise UserError(f"site={wanted}: {what}; {advice}")


def _save(figure: Figure, folder: Path) -> None:
    from quantbench.report.figures.figure import save

    for path in save(figure, folder):
        print(path)
