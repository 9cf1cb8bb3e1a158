"""A lock between processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TRIES = 1000  # a file may be removed or replaced while it is waited for


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """While this is open no other process holds the lock of the file `path`, which is made where there is none.

    Gives whether that is so: it is not where the system has no locks, nor, unless this waits, where another process
    holds it. The lock goes with the process that holds it, however that ends.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        yield False
        return
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    for _ in range(TRIES):
        with path.open("ab") as handle:
            try:
                fcntl.flock(handle, how)
                mine = True
            except OSError:  # another holds it, or this is a network file system without locks
                mine = False
            if mine and not _lies_at(handle, path):  # removed or replaced before it was locked
                continue
            yield mine
            return
    yield False  # a file system on which no file is ever the one that was opened


def _lies_at(handle: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
