"""The second metrics of the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantbench.report.networks import NetworkRows
from quantbench.report.tables import entries
from quantbench.report.tables.table import Item, Table
from quantbench.results.recipe import recipe
from quantbench.results.record import Row


def secondary_table(found: Sequence[NetworkRows]) -> Table:
    """The second metric of every cell that has one."""
    rows = [(network, row) for network in found for row in network.rows if row.secondary_metric is not None]
    return Table(
        name="secondary",
        title="Second metrics",
        caption="Another metric of the same answers as in the tables above, in its points: "
        f"{entries.explained(row.secondary_metric for _, row in rows)}low and high bound the paired 95 % interval of "
        "the change against fp32, ↓ marks a drop of more than 1 % relative to it.",
        columns=("network", "task", "metric", "recipe", "samples", "fp32", "quantized", "change", "low", "high"),
        rows=tuple(_second(network.label, row) for network, row in rows),
    )


def _second(network: str, row: Row) -> tuple[Item, ...]:
    relative = entries.relative_change(row.secondary_quantized, row.secondary_fp32)
    return (
        entries.text(network),
        entries.text(row.task),
        entries.text(row.secondary_metric),
        entries.text(recipe(row)),
        entries.number(row.samples, digits=0),
        entries.number(row.secondary_fp32),
        replace(entries.number(row.secondary_quantized), large_drop=entries.is_large_drop(relative)),
        entries.number(row.secondary_change, sign="+"),
        entries.number(row.secondary_change_low, sign="+"),
        entries.number(row.secondary_change_high, sign="+"),
    )
