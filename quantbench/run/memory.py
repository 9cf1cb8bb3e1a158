"""The batch size that fits into memory: half of what did not, for all passes of a cell and for all cells after it.

A cell that ran out of memory is measured anew from its first pass. So one batch size is behind all of its figures, and
they are those of a run that was given the smaller size from the start.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from quantbench.console import say
from quantbench.errors import UserError, ran_out
from quantbench.sweep.cell import Cell

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


ADVICE = "free memory, or take a smaller network or a machine with more"


class OutOfMemory(Exception):
    """A batch did not fit. `largest` is the number of items in the largest batch of its pass; the text says where."""

    def __init__(self, where: str, largest: int) -> None:
        """Say where, such as `fp32, batch 3 of 5`."""
        super().__init__(where)
        self.largest = largest


@contextmanager
def memory_for(what: str, advice: str = ADVICE) -> Iterator[None]:
    """Raises UserError where memory runs out inside: there was none for `what`."""
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        raise UserError(f"out of memory for {what}: {advice}") from error
