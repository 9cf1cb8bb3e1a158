"""The exceptions whose texts are written for the person at the terminal."""

from __future__ import annotations


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
