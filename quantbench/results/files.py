"""Files of a results folder, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from quantbench.errors import UserError

OLD = 24 * 3600.0  # seconds; no write takes a day, so a temporary file older than that is of a process that was killed


class Unwritable(UserError):
    """A file of the results folder cannot be written."""


def unwritable(path: Path, error: OSError) -> Unwritable:
    """What to say of a file that the system refuses to write."""
    return Unwritable(f"{path}: cannot be written ({error.strerror}); free some space or choose another folder")


def write_files(*files: tuple[Path, bytes]) -> None:
    """Write files under temporary names and force them to disk; once all are there, rename them into place, in order.

    What is a symbolic link stays one: the file that it points to is written.

    Raises:
        Unwritable: one cannot be written (disk full, folder read-only).
    """
    partials: list[Path] = []
    files = tuple((Path(os.path.realpath(path)) if path.is_symlink() else path, content) for path, content in files)
    try:
        for path, content in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
            partials.append(Path(name))
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partials[-1].chmod(0o644)
        for partial, (path, _) in zip(partials, files, strict=True):
            os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        for partial in partials:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    for folder in {path.parent for path, _ in files}:
        _sync_folder(folder)


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
    """Remove what processes that were killed left half-written in a folder, once it is old."""
    for path in folder.glob(".*.partial"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > OLD:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """Force the new names of files to disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
