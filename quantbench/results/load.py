"""The records of a results folder, read for a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantbench.errors import UserError
from quantbench.quant.histogram import Histogram
from quantbench.results import store
from quantbench.results.record import Row


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    `rows` has one row a cell, oldest first, failed and unsupported ones included. `details` has for each cell what its
    record says beside the row: `config`, `command`, `ranges`, `site_sqnr_db`, `histograms`, `versions`, `threads`, ...
    `problems` has a line on each file that could not be used.
    """

    folder: Path
    rows: list[Row]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def measured(self) -> list[Row]:
        """The rows of the cells that have figures."""
        return [row for row in self.rows if row.status == "ok"]

    @property
    def suite(self) -> str:
        """The suite of the rows, or the name of the folder where they are of several."""
        suites = {row.suite for row in self.rows}
        return suites.pop() if len(suites) == 1 else self.folder.resolve().name


def load_results(folder: Path) -> Results:
    """Read every record of a results folder.

    Raises:
        UserError: there is no such folder, or no record that can be used in it.
    """
    if not folder.is_dir():
        raise UserError(f"results_dir={folder}: no such folder; `quantbench run results_dir={folder}` makes it")
    records, problems = store.read_records(folder)
    if not records:
        said = "".join(f"; {problem}" for problem in problems[:3])
        advice = f"`quantbench run results_dir={folder}` writes one"
        raise UserError(f"results_dir={folder}: no record to report; {advice}{said}")
    return Results(folder, [row for row, _ in records], {row.cell: details for row, details in records}, problems)


def load_histograms(results: Results, cell: str) -> dict[str, Histogram]:
    """The histogram of every activation site that the cell was calibrated on; empty where none were kept."""
    return store.read_histograms(results.folder, results.details[cell].get("histograms"))
