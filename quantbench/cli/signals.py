"""The signals that end a program, as CI, Slurm and a closing terminal send them, end it as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from quantbench.errors import Ended, ended

NAMES = ("SIGTERM", "SIGHUP")  # not every system has both


def exit_code(error: KeyboardInterrupt) -> int:
    """What to exit with after an interruption: 130 after Ctrl-C."""
    return error.code if isinstance(error, Ended) else 130


@contextmanager
def as_interrupts() -> Iterator[None]:
    """While this is open, such a signal raises Ended; one that is ignored, as nohup does with SIGHUP, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    ended.clear()
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    ended[:] = [Ended(number)]
    raise ended[0]
