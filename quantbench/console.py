"""Tables for a person or for a pipe."""

from __future__ import annotations

import sys
import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantbench.texts import harmless

PIPE_WIDTH = 100_000


def is_terminal() -> bool:
    """Whether a person reads the output as it comes."""
    return sys.stdout.isatty()


def width() -> int:
    """The columns of the terminal; very many in a pipe, where a line may be as long as it likes."""
    return Console().width if is_terminal() else PIPE_WIDTH


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table without lines. Columns named in `right` hold numbers. Long text folds and is never cut off."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        result.add_column(
            Text(harmless(column)), justify="right" if column in right else "left", overflow="fold", no_wrap=False
        )
    return result


def row(result: Table, *cells: str) -> None:
    """Adds one row of plain text: a [ in it is no markup, and what a terminal would take for a command is left out."""
    result.add_row(*(Text("\n".join(harmless(line) for line in cell.split("\n"))) for cell in cells))


def folded(line: str) -> None:
    """Prints a line, on several where the terminal is narrow."""
    print(textwrap.fill(harmless(line), width(), subsequent_indent="  ", break_on_hyphens=False))


def warn(line: str) -> None:
    """Prints a line for the person at the terminal beside the output."""
    print(f"quantbench: {harmless(line)}", file=sys.stderr)


def show(result: Table) -> None:
    """Prints the table: as wide as the terminal, or in a pipe one line a row, however long."""
    if is_terminal():
        Console().print(result)
        return
    console = Console(width=PIPE_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(result)
    print("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))
