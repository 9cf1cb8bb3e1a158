"""How often the quantized network answers as its fp32 self: finer than accuracy where few samples have a label."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.report.networks import NetworkRows
from quantbench.report.tables import entries as items
from quantbench.report.tables.columns import Slot
from quantbench.report.tables.table import Item, Table

CAPTION = (
    "The percentage of evaluated samples, unlabelled ones included, for which the quantized network gives the same "
    "prediction as in fp32, right or wrong. A change of accuracy needs changed predictions, so this shows what the "
    "few labelled samples of a network cannot. Networks whose answers are numbers have none."
)


def agreement(found: Sequence[NetworkRows], name: str, title: str, columns: Sequence[Slot]) -> Table:
    """A line a network, with the agreement in each of the columns of a table; no lines where nothing was measured."""
    parts = [network.within([slot.matches for slot in columns]) for network in found]
    lines = [_line(network, columns) for network in parts if network is not None and _may_agree(network)]
    if all(item.value is None for line in lines for item in line):
        lines = []
    return Table(
        name=name,
        title=title,
        caption=CAPTION,
        columns=("network", *(slot.title for slot in columns)),
        rows=tuple(lines),
        keys=1,
    )


def _may_agree(network: NetworkRows) -> bool:
    """Whether its answers can be equal, as far as is known: where nothing was measured, it may."""
    known = network.matching(lambda _: True)
    return not known or any(row.agreement is not None for row in known)


def _line(network: NetworkRows, columns: Sequence[Slot]) -> tuple[Item, ...]:
    chosen = [next(iter(network.matching(slot.matches)), None) for slot in columns]
    figures = [
        items.text(network.status(slot.matches)) if row is None else items.number(row.agreement)
        for slot, row in zip(columns, chosen, strict=True)
    ]
    return (items.text(network.label), *figures)
