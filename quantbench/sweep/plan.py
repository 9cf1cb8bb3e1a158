"""Which jobs a sweep needs: every combination is composed, once, before the first one runs.

Finished and doubled cells, and combinations that do not go together, need no job. Cells of one network come one after
the other, so that a process loads it once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.errors import Mismatch, UserError
from quantbench.results import store
from quantbench.results.maker import maker_id
from quantbench.results.record import Row
from quantbench.sweep.cell import Cell, cell_from_settings
from quantbench.sweep.settings import Settings


@dataclass(frozen=True)
class Plan:
    """The overrides of every job to launch, and what the run's list says of the combinations that need none."""

    jobs: list[list[str]]
    entries: list[dict[str, Any]]


def plan(
    combinations: Iterable[Sequence[str]],
    compose: Callable[[Sequence[str]], Settings],
    results: Path,
    cuda_available: bool,
) -> Plan:
    """The jobs of a sweep into `results` over `combinations` of overrides; `compose` gives the settings of one.

    Raises:
        UserError: a combination cannot be composed, so that nothing shall run.
    """
    jobs: dict[str, list[list[str]]] = {}
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    for overrides in combinations:
        try:
            settings = compose(overrides)
        except Mismatch as error:
            entries.append({"dropped": str(error)})
            continue
        try:
            cell = cell_from_settings(settings, cuda_available)
            _check_folder(settings, results)
        except Mismatch as error:
            entries.append({"dropped": str(error)})
        except UserError as error:
            entries.append({"invalid": str(error)})
        else:
            entry = None if cell.hash in seen else recorded(row_of(results, cell), settings, cell.device)
            if entry is not None:
                entries.append(entry)
            elif cell.hash not in seen:
                jobs.setdefault(cell.shared, []).append(list(overrides))
            seen.add(cell.hash)
    return Plan([job for group in jobs.values() for job in group], entries)


def _check_folder(settings: Settings, results: Path) -> None:
    if Path(settings.results_dir) != results:
        folder = settings.results_dir
        raise UserError(f"results_dir={folder}: must be the same for all cells of a sweep, {results}")


def row_of(results: Path, cell: Cell) -> Row | None:
    """The row of a cell's record; None where there is none, or a damaged one, which is measured again."""
    try:
        return store.read_row(results, cell.hash)
    except UserError:
        return None


def recorded(row: Row | None, settings: Settings, device: str) -> dict[str, Any] | None:
    """What the run's list says of a cell whose record, with this row, stays; None where it is to be measured.

    A failed cell stays as it is until `retry=failed`, a finished one of another maker until `reuse` is not `any`;
    everything is measured again with `force`.
    """
    if row is None or settings.force:
        return None
    if row.status in ("failed", "error"):
        return None if settings.retry == "failed" else {"cell": row.cell, "found": True, "failed": True}
    other = is_of_another(row, device)
    if other and settings.reuse != "any":
        return None
    return {"cell": row.cell, "found": True, **({"other": True} if other else {})}


def is_of_another(row: Row | None, device: str) -> bool:
    """Whether a finished row was made by other code, versions or another device than those here; an old one tells not.

    Only a row that says `ok` or `unsupported` is finished.
    """
    return row is not None and row.status in ("ok", "unsupported") and row.maker != maker_id(device)


def note(results: Path, *entries: dict[str, Any]) -> None:
    """Write into the list of this run what became of some cells.

    Raises:
        Unwritable: the folder cannot be written.
    """
    for entry in entries:
        store.note_in_run(results, os.environ.get("QUANTBENCH_RUN", "direct"), entry)
