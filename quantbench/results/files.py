"""Files of a results folder, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from quantbench.errors import UserError
from quantbench.results.locking import locked


class Unwritable(UserError):
    """A file of the results folder cannot be written."""


def unwritable(path: Path, error: OSError) -> Unwritable:
    """What to say of a file that the system refuses to write."""
    return Unwritable(f"{path}: cannot be written ({error.strerror}); free some space or choose another folder")


def write_files(*files: tuple[Path, bytes]) -> None:
    """Write files under temporary names and force them to disk; once all are there, rename them into place, in order.

    Raises:
        Unwritable: one cannot be written (disk full, folder read-only).
    """
    with ExitStack() as stack:
        partials = []
        for path, content in files:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = stack.enter_context(_partial(path))
                with partial.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                partial.chmod(0o644)
            except OSError as error:
                raise unwritable(path, error) from error
            partials.append(partial)
        for partial, (path, _) in zip(partials, files, strict=True):
            try:
                os.replace(partial, path)
            except OSError as error:
                raise unwritable(path, error) from error
            _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """write_files of one file."""
    write_files((path, content))


def write_text(path: Path, text: str) -> None:
    """write_bytes of a text in UTF-8; what UTF-8 cannot say, as in a broken file name, is written escaped."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    """A text as `write_text` writes it."""
    return text.encode("utf-8", errors="backslashreplace")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder. What a running one writes it holds locked."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError), locked(path, wait=False) as mine:
            if mine:
                path.unlink()


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, locked; it is gone afterwards unless it was renamed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(descriptor)
    partial = Path(name)
    try:
        with locked(partial):
            yield partial
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Force the new name of a file to disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
