"""Rows and results for the tests of tables."""

from dataclasses import replace
from pathlib import Path

from quantbench.report.tables import tables
from quantbench.results.load import Results
from quantbench.results.record import spelled
from tests.shared import ROW

PAPERS = replace(
    ROW,
    cell="",
    suite="paper",
    model="resnet50",
    task="imagenet",
    samples=50_000,
    fp32=76.0,
    quantized=None,
    change=None,
    change_low=None,
    change_high=None,
    relative_change=None,
    calib=None,
    activation_bits=None,
    agreement=99.0,
    seconds=2.0,
    started="2026-01-01T00:00:00+00:00",
)


def row(quantized=None, half=0.1, **changes):
    """A measured row whose interval is the change +- half; with a status, a row without figures."""
    made = replace(PAPERS, **changes)
    if made.status != "ok":
        return replace(made, metric=None, samples=None, fp32=None, agreement=None, sqnr_db=None, seconds=None)
    change = quantized - made.fp32
    interval = {"change": change, "change_low": change - half, "change_high": change + half}
    return replace(made, quantized=quantized, relative_change=change / made.fp32, **interval)


def int8(quantized=None, calib="max", percentile=None, **changes):
    """A row of table 5."""
    if percentile is not None:
        changes["calib_options"] = spelled({"percentile": percentile})
    return row(quantized, activation_bits=8, calib=calib, **changes)


def results(*rows, weights="IMAGENET1K_V1"):
    """Results of these rows, each a cell of its own; weights None: as read from a results.csv, without details."""
    named = [replace(found, cell=found.cell or f"cell{place}") for place, found in enumerate(rows)]
    details = {}
    if weights is not None:
        details = {found.cell: {"config": {"model": {"name": found.model, "weights": weights}}} for found in named}
    return Results(Path("results"), named, details)


def table(found, name):
    """The table of that name of some results, None where they have no rows for it."""
    return {made.name: made for made in tables(found)}.get(name)


def texts(made):
    return [[item.text for item in line] for line in made.rows]


def column(made, title):
    return [line[made.columns.index(title)] for line in made.rows]
