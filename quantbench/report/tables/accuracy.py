"""The accuracy of quantized networks beside the paper's: its tables 3 to 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantbench.report.networks import NetworkRows
from quantbench.report.tables import entries
from quantbench.report.tables.columns import table3_columns, table4_columns, table5_columns
from quantbench.report.tables.paper import Grid, grid
from quantbench.report.tables.table import Item, Table

FIGURES = (
    "A figure is the metric in its points ± half of the paired 95 % interval of its change against fp32; the interval "
    "is over the samples. ↓ marks a drop of more than 1 % relative to fp32, proven or not. Below each network, or "
    "group of networks, stands its counterpart in the paper: the same network, or one of the same family, which was "
    "evaluated on other data and is shown for its pattern, not its level. "
)
BEST = "Bold is the best calibration of a network, proven better than the others or not; none where most are equal. "


def table3(found: Sequence[NetworkRows]) -> Table:
    """The paper's table 3: int8 weights, by granularity and folding."""
    columns = table3_columns()
    built = grid(found, "3", columns)
    return _beside_the_paper(
        "table3",
        "Int8 weights only, per channel and per tensor, without and with BN folding (the paper's table 3)",
        f"Activations stay in float. {FIGURES}",
        built,
        {column.title: [line.figures[place] for line in built.lines] for place, column in enumerate(columns)},
    )


def table4(found: Sequence[NetworkRows]) -> Table:
    """The paper's table 4: int8 weights, and their relative change."""
    built = grid(found, "4", table4_columns())
    figures = [line.figures[0] for line in built.lines]
    changes = [entries.relative(line.figures[0], line.fp32.value) for line in built.lines]
    return _beside_the_paper(
        "table4",
        "Int8 weights only, per channel (the paper's table 4)",
        f"Activations stay in float. {FIGURES}",
        built,
        {"int8": figures, "relative change %": changes},
    )


def table5(found: Sequence[NetworkRows]) -> Table:
    """The paper's table 5: int8 weights and activations, by calibration."""
    columns = table5_columns(row for network in found for row in network.rows)
    built = grid(found, "5", columns)
    figures = [_mark_best(line.figures) for line in built.lines]
    return _beside_the_paper(
        "table5",
        "Int8 weights and activations, by calibration (the paper's table 5)",
        "Weights per channel, activations per tensor; the calibrator, or the percentile of |x|, that a column "
        f"names decides the ranges of the activations. {FIGURES}{BEST}",
        built,
        {column.title: [line[place] for line in figures] for place, column in enumerate(columns)},
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
        caption=f"{caption}{entries.explained(built.metrics)}{entries.CONFIDENCE_LEGEND}",
        columns=tuple(columns),
        rows=tuple(zip(*columns.values(), strict=True)),
        notes=built.notes,
        keys=len(head),
    )


def _mark_best(figures: Sequence[Item]) -> tuple[Item, ...]:
    """Marks the highest figure, or some equal ones; nothing to choose, nothing to mark."""
    values = [round(item.value, 9) for item in figures if item.value is not None]
    best = max(values, default=None)
    if best is not None and 2 * values.count(best) > len(values):
        best = None
    return tuple(replace(item, best=item.value is not None and round(item.value, 9) == best) for item in figures)
