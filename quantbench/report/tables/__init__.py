"""All tables of a report: the paper's tables 2 to 5 with its figures beside ours, and what else the rows tell."""

from __future__ import annotations

from quantbench.report.networks import networks
from quantbench.report.tables.accuracy import table3, table4, table5
from quantbench.report.tables.agreement import agreement_table
from quantbench.report.tables.cells import cells_table
from quantbench.report.tables.columns import table3_columns, table5_columns
from quantbench.report.tables.differences import differences_table
from quantbench.report.tables.failures import failures_table
from quantbench.report.tables.fp32 import table2
from quantbench.report.tables.repeats import repeats_table
from quantbench.report.tables.secondary import secondary_table
from quantbench.report.tables.structure import evaluated, structure_table
from quantbench.report.tables.table import Table
from quantbench.results.load import Results


def tables(results: Results) -> list[Table]:
    """Every table that the results have rows for."""
    everything = networks(results)
    found = evaluated(everything)
    weights, activations = table3_columns(), table5_columns(row for network in found for row in network.rows)
    built = [
        table2(found),
        table3(found),
        table4(found),
        table5(found),
        agreement_table(found, "table3_agreement", "Int8 weights only: agreement with fp32", weights),
        agreement_table(found, "table5_agreement", "Int8 weights and activations: agreement with fp32", activations),
        secondary_table(found),
        differences_table(found),
        repeats_table(found),
        structure_table(everything),
        failures_table(results, everything),
        cells_table(results, everything),
    ]
    return [table for table in built if table.rows]
