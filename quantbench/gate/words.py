"""Texts of rows on the way to a terminal, a page or a log: a CSV may come from anyone."""

from __future__ import annotations

from quantbench import summary
from quantbench.record import Row
from quantbench.texts import clean, harmless

LONGEST = 200


def shown(text: object) -> str:
    """One line without control characters, not endless, and no command to a CI that reads the log."""
    words = harmless(clean(str(text)))
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."


def named(row: Row) -> str:
    """A row in words: network, task and recipe."""
    return f"{shown(row.model)} on {shown(row.task)}, {recipe(row)}"


def recipe(row: Row) -> str:
    """The recipe of a row in words."""
    return shown(summary.recipe(row))
