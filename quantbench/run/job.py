"""Hydra's job: one cell from its configuration to a record on disk."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from quantbench.console import tell
from quantbench.errors import Halt, UserError
from quantbench.results import store
from quantbench.results.files import Unwritable
from quantbench.results.recipe import recipe, structure
from quantbench.results.record import Row, is_structure_run
from quantbench.run.measure import measure
from quantbench.sweep.cell import Cell, cell_from_settings
from quantbench.sweep.command import command, own_options
from quantbench.sweep.compose import typed
from quantbench.sweep.plan import is_of_another, note, recorded, row_of
from quantbench.sweep.settings import Settings


def run_job(config: DictConfig) -> float | None:
    """Measure one cell, store its record and note it in the run's list.

    A cell that fails becomes a record with its error, so that a sweep goes on; a finished cell is measured again only
    with `force` or where another maker made it, and a failure then leaves it as it was.

    Returns:
        The quantized network's metric, or its SQNR where there is none: what a sweeper that optimizes asks for.

    Raises:
        Halt: the results folder cannot be written, so that nothing more can be kept; or the configuration describes no
            cell, which in a sweep is noted.
    """
    _enter_working_folder()
    results = Path(config.results_dir)
    try:
        try:
            settings = typed(config)
            cell = cell_from_settings(settings, torch.cuda.is_available())
        except UserError as error:
            if not _in_sweep():
                raise Halt(str(error)) from error  # Hydra adds a line of its own to an Exception
            entry, row = {"invalid": str(error)}, None
        else:
            store.check_writable(results)
            entry, row = _attempt(cell, settings, config, results)
        note(results, entry)
        _say_progress(entry, row)
    except Unwritable as error:
        raise Halt(str(error)) from error
    return None if row is None else row.sqnr_db if row.quantized is None else row.quantized


def _enter_working_folder() -> None:
    """Go where the command was given: a worker may start elsewhere, and results_dir or a file of weights be relative.

    Raises:
        Halt: the folder is not there, because the worker's machine does not share the disk.
    """
    if not HydraConfig.initialized():
        return
    folder = HydraConfig.get().runtime.cwd
    try:
        os.chdir(folder)
    except OSError as error:
        raise Halt(f"{folder}: not on {platform.node()} ({error.strerror}); all workers need this folder") from error


def _in_sweep() -> bool:
    return HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num")


def _attempt(cell: Cell, settings: Settings, config: DictConfig, results: Path) -> tuple[dict[str, Any], Row | None]:
    """Measure a cell unless its record is there; what the run's list shall say of it, and its row."""
    before = row_of(results, cell)
    if entry := recorded(before, settings, cell.device):
        return entry, before
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    record = measure(cell, command(), own_options(config))
    # Read once more: another process may have measured it meanwhile.
    if record.row.status != "ok" and (kept := row_of(results, cell)) and kept.status == "ok":
        said = f"measured again in vain: {record.row.error}"
        other = {"other": True} if is_of_another(kept, cell.device) else {}
        return {"cell": cell.hash, "found": True, "invalid": said, **other}, record.row
    store.write_record(results, record)
    again = {"again": True} if not settings.force and is_of_another(before, cell.device) else {}
    return {"cell": cell.hash, **again}, record.row


def _say_progress(entry: dict[str, Any], row: Row | None) -> None:
    """In a sweep, one line on standard error for the cell that is finished; without a row, what its entry says."""
    if not _in_sweep():
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
