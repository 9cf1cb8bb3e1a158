"""The signals that end a program, as CI, Slurm and a closing terminal send them, end it as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")  # not every system has both

_ended: list[KeyboardInterrupt] = []  # by the signal that came, if one did


class Ended(KeyboardInterrupt):
    """The program was told to end. `code` is its exit code by custom: 128 and the number of the signal."""

    def __init__(self, number: int) -> None:
        """By this signal."""
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def exit_code(error: KeyboardInterrupt) -> int:
    """What to exit with after an interruption: 130 after Ctrl-C."""
    return error.code if isinstance(error, Ended) else 130


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption behind an error: a library that is interrupted while it cleans up may raise one of its own.

    That of a pool of workers does not even say what it comes from.
    """
    seen: list[BaseException] = [error]
    for one in seen:  # which grows meanwhile
        if isinstance(one, KeyboardInterrupt):
            return one
        seen += [more for more in (one.__cause__, one.__context__) if more is not None and more not in seen]
    return _ended[0] if _ended else None


@contextmanager
def as_interrupts() -> Iterator[None]:
    """While this is open, such a signal raises Ended; one that is ignored, as nohup does with SIGHUP, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    _ended.clear()
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    _ended[:] = [Ended(number)]
    raise _ended[0]
