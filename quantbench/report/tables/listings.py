"""Tables of cells as they are: repeated recipes, failures, and every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quantbench.report import metrics
from quantbench.report.networks import NetworkRows, labels_of_cells, measured
from quantbench.report.tables import entries as items
from quantbench.report.tables.table import Item, Table
from quantbench.results.load import Results
from quantbench.results.recipe import recipe
from quantbench.results.record import Row, grouped
from quantbench.results.stats import repeats

PASSES = ("fp32", "calibration", "quantized")


def repeated(found: Sequence[NetworkRows]) -> Table:
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
        items.text(network),
        items.text(scheme),
        items.number(runs[0].samples, digits=0),
        items.number(runs[0].calibration_samples, digits=0),
        items.text(" ".join(str(seed) for seed in seeds)),
        items.number(found.runs, digits=0),
        items.number(found.mean),
        items.number(found.spread, digits=3),
        items.number(found.low),
        items.number(found.high),
    )


def secondary(found: Sequence[NetworkRows]) -> Table:
    """The second metric of every cell that has one."""
    rows = [(network, row) for network in found for row in network.rows if row.secondary_metric is not None]
    return Table(
        name="secondary",
        title="Second metrics",
        caption="Another metric of the same answers as in the tables above, in its points: "
        f"{metrics.explained(row.secondary_metric for _, row in rows)}low and high bound the paired 95 % interval of "
        "the change against fp32, ↓ marks a drop of more than 1 % relative to it.",
        columns=("network", "task", "metric", "recipe", "samples", "fp32", "quantized", "change", "low", "high"),
        rows=tuple(_second(network.label, row) for network, row in rows),
    )


def _second(network: str, row: Row) -> tuple[Item, ...]:
    relative = items.relative_change(row.secondary_quantized, row.secondary_fp32)
    return (
        items.text(network),
        items.text(row.task),
        items.text(row.secondary_metric),
        items.text(recipe(row)),
        items.number(row.samples, digits=0),
        items.number(row.secondary_fp32),
        replace(items.number(row.secondary_quantized), large_drop=items.is_large_drop(relative)),
        items.number(row.secondary_change, sign="+"),
        items.number(row.secondary_change_low, sign="+"),
        items.number(row.secondary_change_high, sign="+"),
    )


def failures(results: Results, found: Sequence[NetworkRows]) -> Table:
    """Every cell without figures; those of one network with the same error are one line."""
    labels = labels_of_cells(found)
    without = [row for row in results.rows if row.status != "ok"]
    groups = grouped(without, lambda row: (labels[row.cell], row.status, row.error or ""))
    rows = [
        (
            items.text(network),
            items.text(recipe(same[0]) if len(same) == 1 else f"{len(same)} recipes"),
            items.number(len(same), digits=0),
            items.text(status),
            items.text(error),
        )
        for (network, status, error), same in groups.items()
    ]
    return Table(
        name="failures",
        title="Cells without figures",
        caption="failed: bad input or missing data; error: a defect, its traceback is in the cell's record; "
        "unsupported: a network of the paper that is not built yet.",
        columns=("network", "recipe", "cells", "status", "what happened"),
        rows=tuple(rows),
    )


def every_cell(results: Results, found: Sequence[NetworkRows]) -> Table:
    """Every cell with the command that measures it again."""
    labels = labels_of_cells(found)
    return Table(
        name="rows",
        title="Every cell",
        caption="fp32, quantized and change in the metric's points, empty where the task has no metric; low and high "
        "bound the paired 95 % interval of the change; agreement of predictions with fp32 in percent; SQNR of the "
        "outputs in dB; seconds of the cell in all; forward passes over the data that it took: fp32 + calibration + "
        "quantized, 0 where one was kept from before.",
        columns=(
            "network",
            "task",
            "metric",
            "recipe",
            "status",
            "samples",
            "fp32",
            "quantized",
            "change",
            "low",
            "high",
            "agreement",
            "SQNR",
            "seconds",
            "passes",
            "command",
        ),
        rows=tuple(_cell(row, labels[row.cell], results.details.get(row.cell, {})) for row in results.rows),
        formats=("csv", "html"),
    )


def _cell(row: Row, network: str, details: Mapping[str, Any]) -> tuple[Item, ...]:
    passes, command = details.get("passes"), details.get("command")
    taken = [str(passes.get(step, 0)) for step in PASSES] if isinstance(passes, Mapping) else []
    return (
        items.text(network),
        items.text(row.task),
        items.text(row.metric),
        items.text(recipe(row)),
        items.text(row.status),
        items.number(row.samples, digits=0),
        items.number(row.fp32),
        replace(items.number(row.quantized), large_drop=items.quantized(row).large_drop if measured(row) else False),
        items.number(row.change, sign="+"),
        items.number(row.change_low, sign="+"),
        items.number(row.change_high, sign="+"),
        items.number(row.agreement),
        items.number(row.sqnr_db, digits=1),
        items.number(row.seconds, digits=1),
        items.text(" + ".join(taken)),
        items.text(command if isinstance(command, str) else None),
    )
