"""A verdict for a person: a table where it fits, else some lines a row. What needs a look stands last."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement

from quantbench import console
from quantbench.console import folded
from quantbench.gate.formats import as_table, explanation, headline, notes, sentence
from quantbench.gate.verdict import Judged, Outcome, Report
from quantbench.report.tables.table import Table, numeric_columns
from quantbench.results.recipe import named


def show(report: Report) -> None:
    """Print the verdict; nothing is cut, however narrow the terminal."""
    if report.rows and not show_table(as_table(report), reverse=True):
        for row in reversed(report.rows):
            _show_row(row, report.rules.confidence)
    for note in notes(report):
        folded(note)
    if report.rows:
        folded(explanation(report))
    folded(headline(report))


def show_table(table: Table, *, reverse: bool = False) -> bool:
    """Print a table unless lines would have to be folded; returns whether it was printed."""
    numeric = numeric_columns(table)
    numbers = tuple(name for name, right in zip(table.columns, numeric, strict=True) if right)
    shown = console.table(*table.columns, right=numbers)
    for row in reversed(table.rows) if reverse else table.rows:
        console.row(shown, *(item.text for item in row))
    anywhere = Console(width=console.PIPE_WIDTH)
    if Measurement.get(anywhere, anywhere.options, shown).maximum > console.width():
        return False
    console.show(shown)
    return True


def _show_row(row: Judged, confidence: float) -> None:
    folded(f"{row.outcome.value}: {named(row.pair.new)}")
    if row.outcome is Outcome.HELD and not row.evidence.is_certain:
        folded(f"  {row.drop:+.2f} points, at most {row.high:+.2f} of {row.tolerance:.2f} ({row.pair.new.metric})")
    else:
        folded(f"  {sentence(row, confidence)}")
