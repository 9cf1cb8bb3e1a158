"""A table as Markdown."""

from __future__ import annotations

import re

from quantbench.console import clean
from quantbench.report.tables.table import Item, Table, letter, marks, numeric_columns


def as_markdown(table: Table) -> str:
    """GitHub's Markdown with title, caption and notes."""
    head = f"### {markdown_text(table.title)}\n\n{markdown_text(table.caption)}\n\n"
    notes = "".join(f"- {markdown_text(note)}\n" for note in table.notes)
    return f"{head}{markdown_rows(table)}\n{chr(10) if notes else ''}{notes}"


def markdown_rows(table: Table) -> str:
    """The rows alone, in padded columns, to be read as they are too."""
    numeric = numeric_columns(table)
    grid = [[_markdown_cell(column) for column in table.columns]]
    grid += [[_markdown_item(item) for item in row] for row in table.rows]
    widths = [max(3, *(len(line[place]) for line in grid)) for place in range(len(table.columns))]
    lines = [
        "| " + " | ".join(_padded(*cell) for cell in zip(line, widths, numeric, strict=True)) + " |" for line in grid
    ]
    rule = [f"{'-' * (width - 1)}{':' if right else '-'}" for width, right in zip(widths, numeric, strict=True)]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """A text that comes out of Markdown as it went in, on one line."""
    # Underscores inside words are no emphasis; escaping them would spoil every name.
    escaped = re.sub(r"([\\*`<])|(?<![^\W_])(_)|(_)(?![^\W_])", r"\\\g<0>", clean(text))
    return escaped.replace("](", "]\\(")


def _markdown_cell(text: str) -> str:
    return markdown_text(text).replace("|", "\\|")


def _markdown_item(item: Item) -> str:
    text = _markdown_cell(item.text)
    confidence = f" ({letter(item)})" if item.confidence else ""
    return f"{f'**{text}**' if item.best else text}{marks(item)}{confidence}"


def _padded(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
