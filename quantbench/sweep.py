"""Which jobs a sweep needs: every combination is tried before the first one runs.

Finished and doubled cells, and combinations that do not go together, need no job. Cells of one network come one after
the other, so that a process loads it once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench import store
from quantbench.cell import Cell, cell_from_config
from quantbench.errors import Mismatch, UserError

SHARED = ("model", "task", "seed", "limit", "batch_size", "device")
"""The cells that have these in common share a loaded network, its data and its float passes."""


@dataclass(frozen=True)
class Plan:
    """The overrides of every job to launch, and what the run's list says of the combinations that need none."""

    jobs: list[list[str]]
    entries: list[dict[str, Any]]


def plan(
    combinations: Iterable[Sequence[str]], compose: Callable[[Sequence[str]], dict[str, Any]], cuda_available: bool
) -> Plan:
    """The jobs of a sweep over `combinations` of overrides; `compose` gives the plain configuration of one."""
    jobs: dict[str, list[list[str]]] = {}
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    for overrides in combinations:
        try:
            settings = compose(overrides)
            cell = cell_from_config(settings, cuda_available)
        except Mismatch as error:
            entries.append({"dropped": str(error)})
        except UserError as error:
            entries.append({"invalid": str(error)})
        else:
            entry = None if cell.hash in seen else recorded(cell, settings)
            if entry is not None:
                entries.append(entry)
            elif cell.hash not in seen:
                shared = json.dumps({key: getattr(cell, key) for key in SHARED}, sort_keys=True)
                jobs.setdefault(shared, []).append(list(overrides))
            seen.add(cell.hash)
    return Plan([job for group in jobs.values() for job in group], list(_distinct(entries)))


def recorded(cell: Cell, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What the run's list says of a cell whose record is there and stays; None where it is to be measured.

    A failed cell stays as it is until `retry=failed`; everything is measured again with `force`.
    """
    try:
        row = store.read_row(Path(settings["results_dir"]), cell.hash)
    except UserError:
        return None  # a damaged record is measured again
    if row is None or settings["force"]:
        return None
    if row.status in ("failed", "error"):
        return None if settings["retry"] == "failed" else {"cell": cell.hash, "found": True, "failed": True}
    return {"cell": cell.hash, "found": True}


def note(results: Path, *entries: dict[str, Any]) -> None:
    """Write into the list of this run what became of some cells.

    Raises:
        Unwritable: the folder cannot be written.
    """
    for entry in entries:
        store.note_in_run(results, os.environ.get("QUANTBENCH_RUN", "direct"), entry)


def _distinct(entries: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    said = set()
    for entry in entries:
        text = json.dumps(entry, sort_keys=True)
        if text not in said:
            said.add(text)
            yield entry
