"""The cells that have no figures."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.report.networks import NetworkRows, labels_of_cells
from quantbench.report.tables import entries
from quantbench.report.tables.table import Table
from quantbench.results.load import Results
from quantbench.results.recipe import recipe
from quantbench.results.record import grouped


def failures_table(results: Results, found: Sequence[NetworkRows]) -> Table:
    """Every cell without figures; those of one network with the same error are one line."""
    labels = labels_of_cells(found)
    without = [row for row in results.rows if row.status != "ok"]
    groups = grouped(without, lambda row: (labels[row.cell], row.status, row.error or ""))
    rows = [
        (
            entries.text(network),
            entries.text(recipe(same[0]) if len(same) == 1 else f"{len(same)} recipes"),
            entries.number(len(same), digits=0),
            entries.text(status),
            entries.text(error),
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
