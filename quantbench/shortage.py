"""How errors say that memory ran out, and what the program says of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from quantbench.errors import UserError

# torch has a class of its own for a GPU only; of the CPU, it and the libraries below it say so in a RuntimeError.
_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "could not create a memory",
    "alloc_failed",
)
ADVICE = "free memory, or take a smaller network or a machine with more"


class OutOfMemory(Exception):
    """A batch did not fit. `largest` is the number of items in the largest batch of its pass; the text says where."""

    def __init__(self, where: str, largest: int) -> None:
        """Say where, such as `fp32, batch 3 of 5`."""
        super().__init__(where)
        self.largest = largest


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


@contextmanager
def memory_for(what: str, advice: str = ADVICE) -> Iterator[None]:
    """Raises UserError where memory runs out inside: there was none for `what`."""
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        raise UserError(f"out of memory for {what}: {advice}") from error
