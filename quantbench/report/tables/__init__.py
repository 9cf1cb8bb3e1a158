"""The tables of a report, built from rows: the paper's tables 2 to 5 with its figures beside ours, and what else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantbench.report import metrics
from quantbench.report.networks import NetworkRows, networks
from quantbench.report.published import published
from quantbench.report.tables import columns as slots
from quantbench.report.tables import entries as items
from quantbench.report.tables.agreement import agreement
from quantbench.report.tables.differences import differences
from quantbench.report.tables.listings import every_cell, failures, repeated, secondary
from quantbench.report.tables.paper import Grid, grid, left_out
from quantbench.report.tables.structure import evaluated, structure_runs
from quantbench.report.tables.table import MISSING, Item, Table
from quantbench.results.load import Results
from quantbench.results.record import Row
from quantbench.results.stats import wilson

FIGURES = (
    "A figure is the metric in its points ± half of the paired 95 % interval of its change against fp32; the interval "
    "is over the samples. ↓ marks a drop of more than 1 % relative to fp32, proven or not. Below each network, or "
    "group of networks, stands its counterpart in the paper: the same network, or one of the same family, which was "
    "evaluated on other data and is shown for its pattern, not its level. "
)
BEST = "Bold is the best calibration of a network, proven better than the others or not; none where most are equal. "


def tables(results: Results) -> list[Table]:
    """Every table that the results have rows for.

    In this order, by name: table2 to table5, table3_agreement, table5_agreement, secondary, differences, repeats,
    structure, failures, rows.
    """
    everything = networks(results)
    found = evaluated(everything)
    built = [
        _table2(found),
        _table3(found),
        _table4(found),
        _table5(found),
        agreement(found, "table3_agreement", "Int8 weights only: agreement with fp32", slots.table3()),
        agreement(found, "table5_agreement", "Int8 weights and activations: agreement with fp32", _table5_slots(found)),
        secondary(found),
        differences(found),
        repeated(found),
        structure_runs(everything),
        failures(results, everything),
        every_cell(results, everything),
    ]
    return [table for table in built if table.rows]


def _table2(found: Sequence[NetworkRows]) -> Table:
    parts = [part for network in found if (part := network.within([lambda _: True]))]
    rows, notes = [], list(left_out(parts))
    for network in parts:
        shown = next(iter(network.matching(lambda _: True)), None)
        rows.append(_baseline_row(network, shown))
        if shown is not None and network.is_papers and network.baseline.verdict != "ok":
            mark = "‡ " if network.baseline.verdict == "off" else ""
            notes.append(f"{mark}{network.label}: baseline {network.baseline.verdict}: {network.baseline.sentence}")
    legend = f" {items.CONFIDENCE_LEGEND}" if any(item.confidence for row in rows for item in row) else ""
    meaning = metrics.explained(row.metric for network in parts for row in network.rows)
    return Table(
        name="table2",
        title="Networks and their fp32 accuracy (the paper's table 2)",
        caption="kind is what the paper's table 2 calls task; the task names the data too. fp32 is the metric in its "
        f"points over the samples. {meaning}low and high are the 95 % interval of fp32 (Wilson), as if the samples "
        "were drawn at random, and are given for shares of right answers only. The published fp32 stands where the "
        "paper has the same network with the same metric; the baseline is ok where ours lies within the tolerance of "
        f"it with the same weights on all samples, off (‡) where it does not, unchecked where one of these is not "
        f"given.{legend}",
        columns=("network", "kind", "task", "metric", "samples", "fp32", "low", "high", "published fp32", "baseline"),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _baseline_row(network: NetworkRows, row: Row | None) -> tuple[Item, ...]:
    status = network.status(lambda _: True)
    figure = None
    if network.counterpart is not None and network.is_papers:
        theirs = published("2").get((network.counterpart.network, "metric"))
        if row is None or theirs is None or metrics.is_same(row.metric, theirs.value):
            figure = published("2").get((network.counterpart.network, "fp32"))
    beside, nothing = items.paper(figure), items.text("")
    head = (items.text(network.label), items.text(metrics.kind(row.metric if row else None)), items.text(network.task))
    if row is None or row.fp32 is None:
        return (*head, nothing, nothing, items.text(status), nothing, nothing, beside, items.text(status))
    low = high = None
    if metrics.is_share(row.metric) and row.samples:
        low, high = wilson(row.fp32, row.samples)
    return (
        *head,
        items.text(row.metric),
        items.number(row.samples, digits=0),
        items.fp32(row, network.baseline),
        items.number(low),
        items.number(high),
        beside,
        Item(network.baseline.verdict if network.is_papers else MISSING, note=network.baseline.sentence),
    )


def _table3(found: Sequence[NetworkRows]) -> Table:
    columns = slots.table3()
    built = grid(found, "3", columns)
    return _beside_the_paper(
        "table3",
        "Int8 weights only, per channel and per tensor, without and with BN folding (the paper's table 3)",
        f"Activations stay in float. {FIGURES}",
        built,
        {slot.title: [line.figures[place] for line in built.lines] for place, slot in enumerate(columns)},
    )


def _table4(found: Sequence[NetworkRows]) -> Table:
    built = grid(found, "4", slots.table4())
    figures = [line.figures[0] for line in built.lines]
    changes = [items.relative(line.figures[0], line.fp32.value) for line in built.lines]
    return _beside_the_paper(
        "table4",
        "Int8 weights only, per channel (the paper's table 4)",
        f"Activations stay in float. {FIGURES}",
        built,
        {"int8": figures, "relative change %": changes},
    )


def _table5(found: Sequence[NetworkRows]) -> Table:
    columns = _table5_slots(found)
    built = grid(found, "5", columns)
    figures = [_mark_best(line.figures) for line in built.lines]
    return _beside_the_paper(
        "table5",
        "Int8 weights and activations, by calibration (the paper's table 5)",
        "Weights per channel, activations per tensor; the calibrator, or the percentile of |x|, that a column "
        f"names decides the ranges of the activations. {FIGURES}{BEST}",
        built,
        {slot.title: [line[place] for line in figures] for place, slot in enumerate(columns)},
    )


def _beside_the_paper(name: str, title: str, caption: str, built: Grid, figures: dict[str, list[Item]]) -> Table:
    """Our lines and the paper's, with these columns; a column names the metrics where these are several."""
    head = {
        "network": [line.head[0] for line in built.lines],
        "source": [line.head[1] for line in built.lines],
        **({"metric": [line.metric for line in built.lines]} if built.has_several_metrics else {}),
    }
    columns = {**head, "fp32": [line.fp32 for line in built.lines], **figures}
    return Table(
        name=name,
        title=title,
        caption=f"{caption}{metrics.explained(built.metrics)}{items.CONFIDENCE_LEGEND}",
        columns=tuple(columns),
        rows=tuple(zip(*columns.values(), strict=True)),
        notes=built.notes,
        keys=len(head),
    )


def _table5_slots(found: Sequence[NetworkRows]) -> tuple[slots.Slot, ...]:
    return slots.table5(row for network in found for row in network.rows)


def _mark_best(figures: Sequence[Item]) -> tuple[Item, ...]:
    """Marks the highest figure, or some equal ones; nothing to choose, nothing to mark."""
    values = [round(item.value, 9) for item in figures if item.value is not None]
    best = max(values, default=None)
    if best is not None and 2 * values.count(best) > len(values):
        best = None
    return tuple(replace(item, best=item.value is not None and round(item.value, 9) == best) for item in figures)
