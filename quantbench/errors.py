"""The exceptions whose texts are written for the person at the terminal, and what an error of others means."""

from __future__ import annotations

import difflib
import errno
import signal
from collections.abc import Iterable
from typing import ClassVar


class UserError(Exception):
    """What the user gave cannot be used. The message is one line that says what to do; the exit code is 2."""


class Halt(BaseException):
    """Nothing more can be done in this run. Not an Exception, so that no sweep goes on after it."""


class Mismatch(UserError):
    """Choices that are each right but do not go together: a sweep leaves out such a combination."""


def halt_message(error: BaseException) -> str | None:
    """The message of the Halt behind an error; None where none is.

    Ray and submitit hand on what a worker raised as the text of its traceback.
    """
    _, name, message = str(error).rpartition(f"{Halt.__module__}.{Halt.__qualname__}: ")
    if name:
        return message.splitlines()[0]
    return str(error) if isinstance(error, Halt) else None


def in_one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())


def unexpected(error: BaseException) -> str:
    """What to say of an error that nobody expects."""
    return f"unexpected {type(error).__name__}: {in_one_line(error)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest that exists, else all of them."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are: {', '.join(known)}" if known else "there are none"


def one_line(error: BaseException) -> str:
    """The message of an error of Hydra, OmegaConf or YAML as one line, without Hydra's advice about its own paths."""
    text = str(error) or type(error).__name__
    if error.__cause__ is not None and str(error.__cause__) not in text:
        text = f"{text} {error.__cause__}" if str(error) else str(error.__cause__)
    return " ".join(text.split("Config search path")[0].split())


def is_full(error: BaseException) -> bool:
    """Whether an error means that the disk takes nothing more, so that no other source of a file would help."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


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


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


class Ended(KeyboardInterrupt):
    """A signal told the program to end. `code` is its exit code by custom: 128 and the number of the signal."""

    last: ClassVar[Ended | None] = None

    def __init__(self, number: int) -> None:
        """By this signal."""
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number
        Ended.last = self


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """The interruption behind an error: a library that is interrupted while it cleans up may raise one of its own.

    That of a pool of workers does not even say what it comes from.
    """
    seen: list[BaseException] = [error]
    for one in seen:  # which grows meanwhile
        if isinstance(one, KeyboardInterrupt):
            return one
        seen += [more for more in (one.__cause__, one.__context__) if more is not None and more not in seen]
    return Ended.last


def exit_code(interrupted: KeyboardInterrupt) -> int:
    """What to exit with: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return interrupted.code if isinstance(interrupted, Ended) else 130
