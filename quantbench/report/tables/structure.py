"""Structure runs: cells on inputs without right answers, which are never shown as an accuracy."""

from __future__ import annotations

from collections.abc import Iterable

from quantbench.report.baseline import configured
from quantbench.report.networks import NetworkRows
from quantbench.report.tables import entries
from quantbench.report.tables.table import Item, Table
from quantbench.results.recipe import recipe
from quantbench.results.record import Row, is_structure_run


def evaluated(found: Iterable[NetworkRows]) -> list[NetworkRows]:
    """The networks that were, or were to be, evaluated with a metric."""
    return [network for network in found if not any(is_structure_run(row) for row in network.rows)]


def structure_table(found: Iterable[NetworkRows]) -> Table:
    """One line for each cell that ran on inputs without right answers."""
    runs = [(network, row) for network in found for row in network.rows if is_structure_run(row) and row.status == "ok"]
    return Table(
        name="structure",
        title="Structure runs",
        caption="Networks run on random inputs of full size, for the layers that are quantized, for memory and for "
        "speed. This is no accuracy and no evidence of one: nobody knows a right answer to these inputs, they are like "
        "no data that a network will see, and with random weights the network has learned nothing. Agreement is the "
        "percentage of inputs whose largest output is the same as in fp32, SQNR that of the outputs in dB; peak memory "
        "in MB and seconds are of the whole cell.",
        columns=(
            "network",
            "weights",
            "recipe",
            "inputs",
            "agreement",
            "SQNR",
            "layers",
            "layers quantized",
            "peak memory",
            "seconds",
        ),
        rows=tuple(_line(network, row) for network, row in runs),
    )


def _line(network: NetworkRows, row: Row) -> tuple[Item, ...]:
    weights = configured(network.details.get(row.cell, {}), "model").get("weights")
    return (
        entries.text(network.label),
        entries.text(None if not weights else "random" if weights == "random" else "real"),
        entries.text(recipe(row)),
        entries.number(row.samples, digits=0),
        entries.number(row.agreement),
        entries.number(row.sqnr_db, digits=1),
        entries.number(row.layers, digits=0),
        entries.number(row.layers_quantized, digits=0),
        entries.number(row.peak_memory_mb, digits=0),
        entries.number(row.seconds, digits=1),
    )
