"""One self-contained HTML page: tables, figures, environment, and every cell with its command."""

from __future__ import annotations

import base64
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from quantbench.console import visible
from quantbench.report.figures.figure import Figure, save
from quantbench.report.formats.html import as_html
from quantbench.report.page import overview
from quantbench.report.tables.table import Table
from quantbench.results.files import write_text
from quantbench.results.load import Results
from quantbench.results.recipe import recipe
from quantbench.results.record import Row

TABLE_FORMATS = ("csv", "md", "tex", "html")
ELSEWHERE = ("failures", "rows")  # the page shows these in its own way: at the top, and with anchors and copy buttons
FIGURE_FORMATS = ("svg", "png")


def write_page(results: Results, tables: list[Table], figures: list[Figure], path: Path) -> None:
    """Write the report as one HTML file that needs nothing from outside.

    Tables and figures that lie beside it in `tables/` and `figures/` are linked, and shown as they lie there.

    Raises:
        Unwritable: the file cannot be written.
    """
    write_text(path, page(results, tables, figures, path.parent))


def page(results: Results, tables: list[Table], figures: list[Figure], folder: Path) -> str:
    """The page as text; `folder` is where it will lie, with `tables/` and `figures/` beside it."""
    # Everything that is not Markup is escaped: errors, tracebacks and names come from records, which anybody may write.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    facts = overview.environment(results)
    rendered = environment.get_template("page.html.j2").render(
        suite=results.suite,
        counts=overview.counts(results),
        origin=overview.origin(results),
        makers=overview.makers(results),
        dates=overview.dates(results),
        problems=results.problems,
        failures=overview.failures(results),
        unsupported=overview.unsupported(results),
        tables=[
            (table, Markup(as_html(replace(table, notes=()))), _links(folder, "tables", table.name, TABLE_FORMATS))
            for table in tables
            if table.name not in ELSEWHERE
        ],
        figures=[(figure, _source(figure, folder), _figure_links(folder, figure)) for figure in figures],
        facts=facts,
        differing=[fact.name for fact in facts if fact.differs],
        networks=_networks(results),
        cells=[(row, recipe(row), results.details.get(row.cell, {}).get("command")) for row in results.rows],
        cell_files=_links(folder, "tables", "rows", TABLE_FORMATS),
        counted=overview.counted,
    )
    return visible(rendered)


def _links(folder: Path, subfolder: str, name: str, formats: tuple[str, ...]) -> list[tuple[str, str]]:
    """Label and relative address of each file that is there."""
    names = [(ending, f"{subfolder}/{name}.{ending}") for ending in formats]
    return [(ending.upper(), address) for ending, address in names if (folder / address).is_file()]


def _figure_links(folder: Path, figure: Figure) -> list[tuple[str, str]]:
    return _links(folder, "figures", figure.name, FIGURE_FORMATS)


def _source(figure: Figure, folder: Path) -> str:
    """The figure as a data: URI, drawn only where its file is not there yet."""
    drawn = folder / "figures" / f"{figure.name}.svg"
    if drawn.is_file():
        return _data_uri(drawn)
    with tempfile.TemporaryDirectory() as temporary:
        _, svg = save(figure, Path(temporary))
        return _data_uri(svg)


def _data_uri(svg: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"


def _networks(results: Results) -> list[dict[str, Any]]:
    """What was measured in float, one line for each different combination of network, data and weights."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in results.measured:
        network = overview.section(results, row, "network")
        weights, preprocessing = str(network.get("weights", "")), str(network.get("preprocessing", ""))
        key = (row.model, row.task, row.metric, row.samples, row.fp32, row.layers, weights, preprocessing)
        lines.setdefault(key, {"row": row, "weights": weights, "preprocessing": preprocessing})
    return list(lines.values())


def _number(row: Row, name: str, sign: str = "") -> str:
    value = getattr(row, name)
    return "" if value is None else f"{value:{sign}.2f}"
