"""The spread of recipes that were measured several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantbench.report.networks import NetworkRows, measured
from quantbench.report.tables import entries
from quantbench.report.tables.table import Item, Table
from quantbench.results.recipe import recipe
from quantbench.results.record import Row, grouped
from quantbench.results.stats import repeats


def repeats_table(found: Sequence[NetworkRows]) -> Table:
    """The spread of recipes that were measured with several seeds, and so several calibration subsets."""
    groups: dict[tuple[str, ...], dict[tuple[int, int], Row]] = {}
    for network in found:
        for row in sorted(network.rows, key=lambda row: row.started or ""):
            if measured(row) and row.calibration_samples:
                key = (
                    network.label,
                    recipe(replace(row, seed=None)),
                    str(row.samples),
                    str(row.method),
                    str(row.backend),
                )
                groups.setdefault(key, {})[row.seed or 0, row.calibration_samples or 0] = row
    rows = [
        _spread(network, scheme, some)
        for (network, scheme, *_), runs in groups.items()
        for some in _subsets(list(runs.values()))
    ]
    return Table(
        name="repeats",
        title="Spread over calibration subsets and seeds",
        caption="The quantized figure, in the metric's points, of recipes that were measured with several seeds, each "
        "of which draws other calibration samples: mean, sample standard deviation (n - 1), least and largest.",
        columns=(
            "network",
            "recipe",
            "samples",
            "calibration samples",
            "seeds",
            "runs",
            "mean",
            "standard deviation",
            "least",
            "largest",
        ),
        rows=tuple(rows),
    )


def _subsets(runs: Sequence[Row]) -> list[list[Row]]:
    """The runs of each number of calibration samples that has several."""
    sizes = grouped(runs, lambda row: row.calibration_samples or 0)
    return [sizes[size] for size in sorted(sizes) if len(sizes[size]) > 1]


def _spread(network: str, scheme: str, runs: Sequence[Row]) -> tuple[Item, ...]:
    found = repeats([row.quantized for row in runs if row.quantized is not None])
    seeds = sorted({row.seed or 0 for row in runs})
    return (
        entries.text(network),
        entries.text(scheme),
        entries.number(runs[0].samples, digits=0),
        entries.number(runs[0].calibration_samples, digits=0),
        entries.text(" ".join(str(seed) for seed in seeds)),
        entries.number(found.runs, digits=0),
        entries.number(found.mean),
        entries.number(found.spread, digits=3),
        entries.number(found.low),
        entries.number(found.high),
    )
