"""Text, tables and progress for a person at a terminal of any width, or for a pipe."""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:  # importing rich takes longer than all else that --help does
    from rich.table import Table

PIPE_WIDTH = 100_000  # a line in a pipe may be as long as it likes
T = TypeVar("T")


def is_terminal() -> bool:
    """Whether a person reads the output as it comes."""
    return sys.stdout.isatty()


def width() -> int:
    """The columns of the terminal, PIPE_WIDTH in a pipe."""
    return _columns(sys.stdout) if is_terminal() else PIPE_WIDTH


def say(message: str) -> None:
    """`tell` with the program's name before the message."""
    tell(f"quantbench: {message}")


def tell(line: str) -> None:
    """A line on standard error, folded on a narrow terminal."""
    columns = _columns(sys.stderr) if sys.stderr.isatty() else PIPE_WIDTH
    print(_folded(line, columns), file=sys.stderr, flush=True)


def folded(text: str) -> None:
    """Prints lines, each on several where the terminal is narrow, the further ones indented."""
    for line in text.split("\n"):
        print(_folded(line, width()))


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table without lines. Columns named in `right` hold numbers.

    Text folds where the terminal is narrow, but numbers and the first column, which holds names, stay whole.
    """
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        number, header = column in right, Text(harmless(column))
        whole = number or position == 0
        result.add_column(header, justify="right" if number else "left", overflow="fold", no_wrap=whole)
    return result


def row(result: Table, *cells: str) -> None:
    """Adds one row of plain text: a [ in it is no markup, and what a terminal would take for a command is left out."""
    from rich.text import Text

    result.add_row(*(Text("\n".join(harmless(line) for line in cell.split("\n"))) for cell in cells))


def show(result: Table) -> None:
    """Prints the table as wide as the terminal, a line a row where not even its words fit or in a pipe."""
    from rich.console import Console

    boundless = Console(width=PIPE_WIDTH, color_system=None)
    if not is_terminal():
        with boundless.capture() as capture:
            boundless.print(result)
        print("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))
    elif boundless.measure(result).minimum <= width():
        Console(width=width()).print(result)
    else:
        for cells in zip(*(column.cells for column in result.columns), strict=True):
            named = zip(result.columns, map(str, cells), strict=True)
            said = (f"{column.header} {text}" if column.justify == "right" else text for column, text in named if text)
            folded("; ".join(said).replace("\n", ", "))


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """The items, with a progress bar that disappears when they are used up."""
    import multiprocessing

    if not sys.stderr.isatty() or multiprocessing.parent_process() is not None:  # workers would draw over each other
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=label)


def _columns(stream: TextIO) -> int:
    """The columns of the terminal behind a stream, whatever its kind: rich gives a dumb one 80."""
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _folded(line: str, columns: int) -> str:
    """A line in pieces, between words only: the terminal itself folds longer ones, and a path can still be copied."""
    line = harmless(line)
    indent = " " * min(len(line) - len(line.lstrip(" ")) + 2, columns // 2)
    pieces = textwrap.wrap(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return line if len(line) <= columns else "\n".join(pieces)


_INVISIBLE = ("Cc", "Cf", "Cs")


def clean(text: str) -> str:
    """One line without control characters."""
    return "".join(filter(str.isprintable, " ".join(text.split())))


def harmless(text: str) -> str:
    """One line that is no command to a terminal, or to a CI that reads the log. Blanks stay as they are.

    GitHub Actions takes a line that begins with `::` for a command, and `##[` anywhere in it.
    """
    line = " ".join(text.replace("\t", " ").splitlines())
    return "".join(filter(str.isprintable, line)).replace("::", ": :").replace("##[", "# #[")


def visible(text: str) -> str:
    """A text of many lines without control characters, and without those that turn the direction of reading."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) not in _INVISIBLE)
