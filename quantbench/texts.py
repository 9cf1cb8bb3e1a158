"""Texts on their way out: a name, an error or an answer may come from a file of anyone."""

from __future__ import annotations

import unicodedata

_INVISIBLE = ("Cc", "Cf", "Cs")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a spreadsheet tells a formula from a text


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


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if _needs_guard(text) else text


def unguarded(text: str) -> str:
    """The text that `guarded` got, also where it was written without."""
    return text[1:] if text.startswith("'") and _needs_guard(text) else text


def _needs_guard(text: str) -> bool:
    """Also of a text that looks as if it were guarded already, so that every text comes back as it was."""
    return text.lstrip("'").startswith(FORMULA)
