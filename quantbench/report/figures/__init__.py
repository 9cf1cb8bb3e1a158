"""All figures of a report, in its order."""

from __future__ import annotations

from quantbench.report.figures.accuracy import accuracy_figure, table5_rows
from quantbench.report.figures.figure import Figure
from quantbench.report.figures.histogram import calibrated_ranges, choose_site, histogram_figure
from quantbench.report.figures.paper import figure1_mapping, figure4_fake_quantization, figure7_gelu_swish
from quantbench.report.figures.percentile import percentile_figure
from quantbench.report.figures.sqnr import sqnr_figure
from quantbench.report.networks import NetworkRows, networks
from quantbench.report.tables.structure import evaluated
from quantbench.results.load import Results


def figures(results: Results) -> list[Figure]:
    """The paper's figures 1, 2 (for every network whose histograms were kept), 4 and 7, then those of the results."""
    found = evaluated(networks(results))
    histograms = [_histogram(results, network) for network in found]
    depths = [sqnr_figure(network) for network in found]
    paper = [figure1_mapping(), *histograms, figure4_fake_quantization(), figure7_gelu_swish()]
    return [
        figure for figure in (*paper, accuracy_figure(found), percentile_figure(found), *depths) if figure is not None
    ]


def _histogram(results: Results, network: NetworkRows) -> Figure | None:
    """The histogram of the network's site where calibrations differ most, from a row of table 5 if one has it."""
    others = network.matching(lambda row: row.activation_bits is not None)
    for row in (*table5_rows(network).values(), *others):
        if histograms := results.histograms(row.cell):
            site = choose_site(histograms)
            ranges = calibrated_ranges(histograms[site])
            return histogram_figure(histograms[site], ranges, site, network.label)
    return None
