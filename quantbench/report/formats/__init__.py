"""Tables in the formats that are written: Markdown, LaTeX, CSV, HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quantbench.report.formats.csv import as_csv
from quantbench.report.formats.html import as_html
from quantbench.report.formats.latex import as_latex
from quantbench.report.formats.markdown import as_markdown
from quantbench.report.tables.table import Table
from quantbench.results.files import write_text

FORMATS: dict[str, Callable[[Table], str]] = {"md": as_markdown, "tex": as_latex, "csv": as_csv, "html": as_html}


def write(table: Table, folder: Path) -> list[Path]:
    """Write a table in all its formats as `<name>.md`, `.tex`, `.csv` and `.html`; returns the files.

    Raises:
        Unwritable: the folder cannot be written.
    """
    paths = [folder / f"{table.name}.{kind}" for kind in table.formats]
    for kind, path in zip(table.formats, paths, strict=True):
        write_text(path, FORMATS[kind](table))
    return paths
