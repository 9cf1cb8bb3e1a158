"""Every cell as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quantbench.report.networks import NetworkRows, labels_of_cells, measured
from quantbench.report.tables import entries
from quantbench.report.tables.table import Item, Table
from quantbench.results.load import Results
from quantbench.results.recipe import recipe
from quantbench.results.record import Row

PASSES = ("fp32", "calibration", "quantized")


def cells_table(results: Results, found: Sequence[NetworkRows]) -> Table:
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
        entries.text(network),
        entries.text(row.task),
        entries.text(row.metric),
        entries.text(recipe(row)),
        entries.text(row.status),
        entries.number(row.samples, digits=0),
        entries.number(row.fp32),
        replace(
            entries.number(row.quantized), large_drop=entries.quantized(row).large_drop if measured(row) else False
        ),
        entries.number(row.change, sign="+"),
        entries.number(row.change_low, sign="+"),
        entries.number(row.change_high, sign="+"),
        entries.number(row.agreement),
        entries.number(row.sqnr_db, digits=1),
        entries.number(row.seconds, digits=1),
        entries.text(" + ".join(taken)),
        entries.text(command if isinstance(command, str) else None),
    )
