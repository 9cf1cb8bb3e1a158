"""Puts a report together: which tables and figures, written where, and the page over them."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quantbench.console import track
from quantbench.report.figures import figures
from quantbench.report.figures.figure import save
from quantbench.report.formats import FORMATS, write
from quantbench.report.page import write_page
from quantbench.report.tables import tables
from quantbench.report.tables.table import Table
from quantbench.results.files import write_text
from quantbench.results.load import Results

MADE = ".report.json"  # in the results folder: the files that the last report made


@dataclass(frozen=True)
class Built:
    """What a report wrote: the tables, their files and those of the figures, and the page."""

    tables: list[Table]
    table_files: list[Path]
    figure_files: list[Path]
    page: Path


def build(results: Results) -> Built:
    """Write `tables/`, `figures/` and `index.html` into the results folder.

    Files of an earlier report that are no longer made are removed; nothing else in the folders is touched.

    Raises:
        Unwritable: the folder cannot be written.
    """
    folder, made = results.path, tables(results)
    table_files = [path for table in made for path in write(table, folder / "tables")]
    drawn = figures(results)
    figure_files: list[Path] = []
    for figure in track(drawn, "drawing", len(drawn)):
        figure_files += save(figure, folder / "figures")
    _remove_stale(folder, [*table_files, *figure_files])
    write_page(results, made, drawn, folder / "index.html")
    return Built(made, table_files, figure_files, folder / "index.html")


def _remove_stale(folder: Path, written: list[Path]) -> None:
    """Remove what the last report made and this one did not, and note what this one made."""
    now = sorted(path.relative_to(folder).as_posix() for path in written)
    for name in set(_made_before(folder)) - set(now):
        with suppress(OSError):
            (folder / name).unlink()
    write_text(folder / MADE, json.dumps(now, indent=1) + "\n")


def _made_before(folder: Path) -> list[str]:
    """The files that the list names, and only those that a report can have made: the list is a file like any other."""
    try:
        names = json.loads((folder / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    made_in = {"tables": set(FORMATS), "figures": {"png", "svg"}}
    paths = [Path(name) for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [
        path.as_posix()
        for path in paths
        if len(path.parts) == 2 and path.suffix[1:] in made_in.get(path.parts[0], set())
    ]
