"""Files of a results folder, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from quantbench.errors import UserError


class Unwritable(UserError):
    """A file of the results folder cannot be written."""


def unwritable(path: Path, error: OSError) -> Unwritable:
    """What to say of a file that the system refuses to write."""
    return Unwritable(f"{path}: cannot be written ({error.strerror}); free some space or choose another results_dir")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, force it to disk, then rename it into place.

    Raises:
        Unwritable: it cannot be written (disk full, folder read-only).
    """
    partial = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if partial and os.path.exists(partial):
            os.unlink(partial)


def write_text(path: Path, text: str) -> None:
    """write_bytes of a text in UTF-8; what UTF-8 cannot say, as in a broken file name, is written escaped."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))
