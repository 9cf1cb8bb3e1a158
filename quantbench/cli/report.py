"""`quantbench report`: tables, figures and one page from the records of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.cli.check import show_table
from quantbench.console import folded, say
from quantbench.errors import UserError, nearest

if TYPE_CHECKING:
    from quantbench.report.tables.table import Table

HELP = """usage: quantbench report [results_dir=FOLDER]

Writes the report of the records in a results folder (default quantbench-results) into the same folder: index.html, one
page with everything, tables/ (Markdown, LaTeX, CSV, HTML) and figures/ (PNG, SVG). It measures nothing.

Exit codes: 0 written; 2 no record can be used, no cell has figures, or the folder cannot be written."""

KEYS = ("results_dir",)
SHOWN = ("table3", "table5")  # on a terminal that is wide enough


def main(arguments: list[str]) -> int:
    """Writes the report; 2 where no cell has figures."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    folder = _results_dir(arguments)

    from quantbench.results.load import load_results

    results = load_results(folder)  # first: matplotlib takes a second, and there may be nothing to report
    if not results.details:
        raise UserError(f"results_dir={folder}: no record to report; `quantbench run results_dir={folder}` writes one")

    from quantbench.report.build import build
    from quantbench.report.page import overview

    built = build(results)
    for table in built.tables:
        if table.name in SHOWN:
            _show(table)
    folded(f"{results.suite}: {overview.counts(results)}")
    if said := overview.makers(results):
        folded(said)
    folded(f"page:     {built.page}")
    folded(f"tables:   {folder / 'tables'} ({', '.join(table.name for table in built.tables)})")
    folded(f"figures:  {folder / 'figures'} ({len({path.stem for path in built.figure_files})})")
    for line in results.problems:
        say(line)
    for group in overview.failures(results):
        say(f"{group.model}, {overview.counted(len(group.rows), 'cell')}: {group.reason}")
    if not results.measured:
        say(f"no cell of {folder} was measured: the report shows only what went wrong")
        return 2
    return 0


def _results_dir(arguments: list[str]) -> Path:
    """The folder that the arguments name.

    Raises:
        UserError: an argument is not results_dir=FOLDER.
    """
    value = "quantbench-results"
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"cannot read {argument}: write results_dir=FOLDER")
        if key not in KEYS:
            raise UserError(f"no key {key}: {nearest(key, KEYS)}")
        if not text:
            raise UserError("results_dir=: must be the name of a folder")
        value = text
    return Path(value)


def _show(table: Table) -> None:
    """Print a table, but not where lines would have to be folded: the page has it too."""
    if show_table(table, title=f"{table.title}; ↓ is more than 1 % below fp32"):
        print()
    else:
        folded(f"{table.name} needs a wider terminal: see the page\n")
