"""A table of a report, before anything is said of how it looks."""

from __future__ import annotations

from dataclasses import dataclass

MISSING = "\N{EN DASH}"  # the text of what was not measured
FORMATS = ("md", "tex", "csv", "html")

# How a published figure was obtained, and the letter beside it.
CONFIDENCES = {"verbatim": "v", "corroborated": "c", "consistent": "s", "recalled": "r", "doubtful": "d"}


@dataclass(frozen=True)
class Item:
    """One cell of a table as shown. The marks are flags: a renderer adds them to the text."""

    text: str  # "93.56 ±0.06"
    value: float | None = None  # what a column is sorted by, and what the CSV holds; None: the text
    best: bool = False  # the best calibration of its row
    large_drop: bool = False  # more than 1 % relative below fp32
    note: str = ""  # a tooltip
    half_width: float | None = None  # of the 95 % interval, in the unit of value
    relative_change: float | None = None  # against fp32, a fraction
    confidence: str = ""  # of a published figure, a key of CONFIDENCES
    flagged: bool = False  # an fp32 that misses the published one
    paper: bool = False  # published, not measured


@dataclass(frozen=True)
class Table:
    """A table with what is to be said of it."""

    name: str  # file stem: table3
    title: str
    caption: str  # what the numbers are and what the marks mean
    columns: tuple[str, ...]
    rows: tuple[tuple[Item, ...], ...]
    notes: tuple[str, ...] = ()  # lines below the table: missing cells, flagged baselines, failures
    keys: int = 0  # leading columns that name a row; its other cells are then a line each in the CSV. 0: one line a row
    formats: tuple[str, ...] = FORMATS  # what it is written as


def numeric_columns(table: Table) -> list[bool]:
    """For each column, whether it holds numbers."""
    return [any(row[place].value is not None for row in table.rows) for place in range(len(table.columns))]


def sentence(title: str) -> str:
    """A title as a sentence, with something at its end."""
    return title if title.endswith((".", "?", "!")) else f"{title}."


def letter(item: Item) -> str:
    """How a published figure was obtained, in one letter."""
    return CONFIDENCES.get(item.confidence, item.confidence)


def marks(item: Item) -> str:
    """The signs behind a figure."""
    return f"{' ↓' if item.large_drop else ''}{' ‡' if item.flagged else ''}"
