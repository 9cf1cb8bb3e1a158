"""Which jobs a sweep needs: every combination is tried before the first one runs.

Finished and doubled cells, and combinations that do not go together, need no job. Cells of one network come one after
the other, so that a process loads it once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from quantbench.console import tell
from quantbench.errors import Mismatch, UserError
from quantbench.results import store
from quantbench.results.recipe import recipe, structure
from quantbench.results.record import Row, is_structure_run
from quantbench.sweep.cell import Cell, cell_from_config


@dataclass(frozen=True)
class Plan:
    """The overrides of every job to launch, and what the run's list says of the combinations that need none."""

    jobs: list[list[str]]
    entries: list[dict[str, Any]]


def plan(
    combinations: Iterable[Sequence[str]],
    compose: Callable[[Sequence[str]], dict[str, Any]],
    results: Path,
    cuda_available: bool,
) -> Plan:
    """The jobs of a sweep into `results` over `combinations` of overrides; `compose` gives the settings of one."""
    jobs: dict[str, list[list[str]]] = {}
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    for overrides in combinations:
        try:
            settings = compose(overrides)
            cell = cell_from_config(settings, cuda_available)
            _check_folder(settings, results)
        except Mismatch as error:
            entries.append({"dropped": str(error)})
        except UserError as error:
            entries.append({"invalid": str(error)})
        else:
            entry = None if cell.hash in seen else recorded(row_of(results, cell), settings)
            if entry is not None:
                entries.append(entry)
            elif cell.hash not in seen:
                jobs.setdefault(cell.shared, []).append(list(overrides))
            seen.add(cell.hash)
    return Plan([job for group in jobs.values() for job in group], entries)


def _check_folder(settings: dict[str, Any], results: Path) -> None:
    if Path(settings["results_dir"]) != results:
        folder = settings["results_dir"]
        raise UserError(f"results_dir={folder}: must be the same for all cells of a sweep, {results}")


def row_of(results: Path, cell: Cell) -> Row | None:
    """The row of a cell's record; None where there is none, or a damaged one, which is measured again."""
    try:
        return store.read_row(results, cell.hash)
    except UserError:
        return None


def recorded(row: Row | None, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What the run's list says of a cell whose record, with this row, stays; None where it is to be measured.

    A failed cell stays as it is until `retry=failed`; everything is measured again with `force`.
    """
    if row is None or settings["force"]:
        return None
    if row.status in ("failed", "error"):
        return None if settings["retry"] == "failed" else {"cell": row.cell, "found": True, "failed": True}
    return {"cell": row.cell, "found": True}


def note(results: Path, *entries: dict[str, Any]) -> None:
    """Write into the list of this run what became of some cells.

    Raises:
        Unwritable: the folder cannot be written.
    """
    for entry in entries:
        store.note_in_run(results, os.environ.get("QUANTBENCH_RUN", "direct"), entry)


def say_progress(entry: dict[str, Any], row: Row | None) -> None:
    """In a sweep, one line on standard error for the cell that is finished; without a row, what its entry says."""
    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().job, "num"):
        return
    number, jobs = HydraConfig.get().job.num + 1, os.environ.get("QUANTBENCH_JOBS", "?")
    what = entry.get("invalid", "") if row is None else progress_line(row)
    tell(f"{number}/{jobs}  {what}")


def progress_line(row: Row) -> str:
    """A finished cell in a line: its figures, or what became of it."""
    if row.status != "ok":
        said = row.status
    else:
        figures = structure(row) if is_structure_run(row) else f"{row.fp32:.2f} -> {row.quantized:.2f}"
        said = f"{figures}, {row.seconds:.1f} s"
    return f"{row.model}, {recipe(row)}: {said}"
