"""The batch size that fits into memory: half of what did not, for all passes of a cell and for all cells after it.

A cell that ran out of memory is measured anew from its first pass. So one batch size is behind all of its figures, and
they are those of a run that was given the smaller size from the start.
"""

from __future__ import annotations

import gc
import json

import torch

from quantbench.cell import Cell
from quantbench.console import say
from quantbench.errors import UserError
from quantbench.shortage import ADVICE

_sizes: dict[str, int] = {}
"""What was found to fit in this process, by network, task and device."""


def fitting_batch(cell: Cell) -> int:
    """The batch size to run a cell with: its own, or less where this process found that less fits."""
    return min(cell.batch_size, _sizes.get(_network(cell), cell.batch_size))


def halve_batch(cell: Cell, where: str, largest: int) -> None:
    """Let this process run the cell's network with batches of half of `largest`, which did not fit, and say so.

    Raises:
        UserError: it was one item.
    """
    if largest < 2:
        raise UserError(f"out of memory with a batch of 1 ({where}): {ADVICE}")
    _sizes[_network(cell)] = largest // 2
    gc.collect()  # an error and its frames may form a circle, which holds the batch
    if cell.device == "cuda":
        torch.cuda.empty_cache()
    said = f"out of memory with batches of {largest}: going on with {largest // 2}"
    say(f"{said} ({cell.model['name']}, {where})")


def forget() -> None:
    """Let the next cells begin with their own batch size."""
    _sizes.clear()


def _network(cell: Cell) -> str:
    return json.dumps([dict(cell.model), cell.task["name"], cell.device], sort_keys=True)
