"""A page from records made by hand, with texts that would break it if they were not escaped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantbench.report.figures.figure import Figure, blank
from quantbench.report.tables.table import MISSING, Item, Table
from quantbench.results.load import Results
from quantbench.results.record import Row
from tests.shared import ROW

NASTY = "<script>document.title='hacked'</script>\"'&<img src=x onerror=alert(1)>"
COMMAND = "quantbench run model=alpha calib=max 'skip_layers=[conv1,\"fc\"]' && echo <done>"

MEASURED = replace(
    ROW,
    model="alpha",
    task="photos",
    fp32=93.5,
    quantized=93.25,
    change=-0.25,
    change_low=-0.5,
    change_high=0.0,
    relative_change=-0.25 / 93.5,
    layers=22,
    device="cpu",
    isa="avx512_vnni",
    torch="2.15.0+cpu",
    git="0123456789ab",
)
NOTHING = {"fp32": None, "quantized": None, "change": None, "change_low": None, "change_high": None, "metric": None}
OTHER = replace(MEASURED, cell="bbbbbbbbbbbb", model="beta", calib="entropy", started="2026-11-23T16:41:00+00:00")
ERROR = replace(MEASURED, cell="cccccccccccc", model=NASTY, status="error", error=f"unexpected: {NASTY}", **NOTHING)
UNSUPPORTED = replace(MEASURED, cell="dddddddddddd", model="jasper", status="unsupported", error="not built", **NOTHING)
DETAILS = {
    "command": COMMAND,
    "network": {"weights": f"sha256:{'0' * 64}", "preprocessing": "x / 255"},
    "versions": {"python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"},
    "threads": 2,
}


def sample_results(folder: Path, *rows: Row, problems: tuple[str, ...] = ()) -> Results:
    """Results of these rows, each with the same details; an error has a traceback and no more."""
    details = {row.cell: {"traceback": NASTY} if row.status == "error" else dict(DETAILS) for row in rows}
    return Results(folder, list(rows), details, list(problems))


def sample_table(name: str = "table5") -> Table:
    """Values whose order as numbers is not their order as texts, two that are equal, and one that is missing."""
    rows = [("a", 10.0), ("b", 9.5), ("c", None), ("d", 100.0), ("e", 9.5), (NASTY, -3.0)]
    items = tuple((Item(key), Item(MISSING if value is None else f"{value:.2f} ±0.10", value)) for key, value in rows)
    return Table(name, f"Title of {name} {NASTY}", f"Caption {NASTY}", ("network", "max"), items, (f"note {NASTY}",))


def sample_figure(name: str = "figure1") -> Figure:
    drawing = blank(2.0)
    drawing.subplots().plot([0, 1], [0, 1])
    return Figure(name, f"Figure {NASTY}", f"Caption {NASTY}", f"Alt {NASTY}", drawing)
