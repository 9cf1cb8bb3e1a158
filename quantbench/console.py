"""Text, tables and progress for a person at a terminal of any width, or for a pipe."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.table import Table
import multiprocessing
import unicodedata
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PIPE_WIDTH = 100_000
NARROWEST = 16  # columns that a column of text is folded to; the first, which holds names, to more
NARROWEST_NAMES = 40


def is_terminal() -> bool:
    """Whether a person reads the output as it comes."""
    return sys.stdout.isatty()


def width() -> int:
    """The columns of the terminal; very many in a pipe, where a line may be as long as it likes."""
    return _columns(sys.stdout) if is_terminal() else PIPE_WIDTH


def say(message: str) -> None:
    """`tell` with the program's name before the message."""
    tell(f"quantbench: {message}")


def tell(line: str) -> None:
    """A line on standard error, folded on a narrow terminal."""
    columns = _columns(sys.stderr) if sys.stderr.isatty() else PIPE_WIDTH
    print("\n".join(_folded(line, columns)), file=sys.stderr, flush=True)


def folded(text: str) -> None:
    """Prints lines, each on several where the terminal is narrow, the further ones indented."""
    for line in text.split("\n"):
        print("\n".join(_folded(line, width())))


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table without lines. Columns named in `right` hold numbers. Long text folds and is never cut off."""
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = column in right
        header = Text(harmless(column))
        result.add_column(header, justify="right" if number else "left", overflow="fold", no_wrap=number)
    return result


def row(result: Table, *cells: str) -> None:
    """Adds one row of plain text: a [ in it is no markup, and what a terminal would take for a command is left out."""
    from rich.text import Text

    result.add_row(*(Text("\n".join(harmless(line) for line in cell.split("\n"))) for cell in cells))


def show(result: Table) -> None:
    """Prints the table as wide as the terminal, row by row where numbers would not fit; in a pipe, one line a row."""
    from rich.console import Console

    if not is_terminal():
        console = Console(width=PIPE_WIDTH, color_system=None)
        with console.capture() as capture:
            console.print(result)
        print("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))
    elif _least_width(result) <= width():
        Console(width=width()).print(result)
    else:
        for line in _sentences(result):
            folded(line)


def _columns(stream: TextIO) -> int:
    """The columns of the terminal behind a stream, whatever its kind."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _folded(line: str, columns: int) -> Iterator[str]:
    """A line in pieces. Words stay whole but where one alone is too long and no path, which a person may copy."""
    line = harmless(line)
    if len(line) <= columns:
        yield line
        return
    indent = " " * min(len(line) - len(line.lstrip(" ")) + 2, columns // 2)
    for piece in textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    ):
        cut = len(piece) > columns and not any(sign in piece for sign in "/\\")
        yield from textwrap.wrap(piece, columns, subsequent_indent=indent) if cut else [piece]


def _least_width(result: Table) -> int:
    """The columns that a table needs for whole numbers and text that can be read."""
    widths = []
    for number, column in enumerate(result.columns):
        longest = max((len(line) for text in _texts(column) for line in text.split("\n")), default=0)
        longest = max(longest, len(str(column.header)))
        widths.append(longest if column.no_wrap else min(longest, NARROWEST if number else NARROWEST_NAMES))
    return sum(widths) + 2 * (len(widths) - 1)


def _sentences(result: Table) -> Iterator[str]:
    """A line a row, in which numbers have the name of their column."""
    for cells in zip(*(_texts(column) for column in result.columns), strict=True):
        named = zip(result.columns, (cell.replace("\n", ", ") for cell in cells), strict=True)
        yield "; ".join(f"{column.header} {text}" if column.no_wrap else text for column, text in named if text)


def _texts(column: object) -> list[str]:
    return [str(cell) for cell in column.cells]  # type: ignore[attr-defined]


T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """The items, with a progress bar that disappears when they are used up."""
    if not sys.stderr.isatty() or multiprocessing.parent_process() is not None:  # workers would draw over each other
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.advance(bar)


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
