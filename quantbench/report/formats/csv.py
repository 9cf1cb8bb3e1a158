"""A table as data."""

from __future__ import annotations

import csv
import io

from quantbench.console import clean
from quantbench.report.tables.table import MISSING, Table, numeric_columns


def as_csv(table: Table) -> str:
    """The table as data that `pandas.read_csv` takes without any option: numbers are plain, marks are columns.

    A table whose leading columns name a row (tables 3 to 5) is in long form, one line a figure, because its figures
    have marks of their own and its columns differ from run to run: `df.pivot(index=["network", "source"],
    columns="column", values="value")` makes it wide. Other tables have one line a row, with a column of its own for an
    interval's half width or the confidence of a published figure. A number is unrounded, empty where it was not
    measured. The file holds no title, caption or notes, which would be broken lines to its reader: they are in the
    other formats.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(_long(table) if table.keys else _wide(table))
    return buffer.getvalue()


def plain(value: float | None) -> str:
    """A number as a program reads it, without the noise of its binary digits."""
    return "" if value is None else f"{value:.12g}"


def _text(text: str) -> str:
    """A text on one line; empty where there is none."""
    return "" if text == MISSING else clean(text)


def _long(table: Table) -> list[list[str]]:
    marks = ["value", "half_width", "relative_change", "best", "large_drop", "flagged", "confidence", "status", "note"]
    lines = [[*map(_text, table.columns[: table.keys]), "column", *marks]]
    for row in table.rows:
        for column, item in zip(table.columns[table.keys :], row[table.keys :], strict=True):
            status = "ok" if item.value is not None else _text(item.text) or "missing"
            numbers = [plain(value) for value in (item.value, item.half_width, item.relative_change)]
            flags = [str(flag) for flag in (item.best, item.large_drop, item.flagged)]
            names = [_text(key.text) for key in row[: table.keys]]
            lines.append([*names, _text(column), *numbers, *flags, _text(item.confidence), status, _text(item.note)])
    return lines


def _wide(table: Table) -> list[list[str]]:
    lines: list[list[str]] = [[] for _ in range(len(table.rows) + 1)]
    for place, (column, numeric) in enumerate(zip(table.columns, numeric_columns(table), strict=True)):
        cells = [row[place] for row in table.rows]
        _add(lines, column, [plain(item.value) if numeric else _text(item.text) for item in cells])
        if any(item.half_width is not None for item in cells):
            _add(lines, f"{column} half width", [plain(item.half_width) for item in cells])
        if any(item.confidence for item in cells):
            _add(lines, f"{column} confidence", [_text(item.confidence) for item in cells])
    return lines


def _add(lines: list[list[str]], column: str, cells: list[str]) -> None:
    for line, cell in zip(lines, [_text(column), *cells], strict=True):
        line.append(cell)
