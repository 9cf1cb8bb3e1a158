"""A table as a part of an HTML page."""

from __future__ import annotations

import html

from quantbench.console import clean
from quantbench.report.formats.csv import plain
from quantbench.report.tables.table import Item, Table, letter, marks, numeric_columns, sentence


def as_html(table: Table) -> str:
    """A fragment of a page: the table, sortable by the `data-value` of its cells, and its notes."""
    numeric = numeric_columns(table)
    columns = "".join(
        f'<th scope="col"{_class("number" if right else "")}>{_escaped(column)}</th>'
        for column, right in zip(table.columns, numeric, strict=True)
    )
    rows = [
        f"<tr{_class('paper' if row and row[0].paper else '')}>"
        + "".join(_html_item(item, right) for item, right in zip(row, numeric, strict=True))
        + "</tr>"
        for row in table.rows
    ]
    notes = "".join(f"<li>{_escaped(note)}</li>\n" for note in table.notes)
    return (
        f'<table class="sortable" id="{_escaped(table.name)}">\n'
        f"<caption><strong>{_escaped(sentence(table.title))}</strong> {_escaped(table.caption)}</caption>\n"
        f"<thead>\n<tr>{columns}</tr>\n</thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>\n"
        + (f'<ul class="notes">\n{notes}</ul>\n' if notes else "")
    )


def _escaped(text: str) -> str:
    return html.escape(clean(text))


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _html_item(item: Item, numeric: bool) -> str:
    flags = {"number": numeric, "best": item.best, "drop": item.large_drop, "off": item.flagged, "paper": item.paper}
    value = "" if item.value is None else f' data-value="{plain(item.value)}"'
    title = f' title="{_escaped(item.note)}"' if item.note else ""
    text = f"<strong>{_escaped(item.text)}</strong>" if item.best else _escaped(item.text)
    confidence = f"<sup>{_escaped(letter(item))}</sup>" if item.confidence else ""
    classes = _class(" ".join(name for name, is_so in flags.items() if is_so))
    return f"<td{classes}{value}{title}>{text}{marks(item)}{confidence}</td>"
