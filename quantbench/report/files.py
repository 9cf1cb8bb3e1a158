"""Writes a text file of a report, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from quantbench.store import Unwritable


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it into place.

    Raises:
        Unwritable: it cannot be written (folder full, read-only).
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        raise Unwritable(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another folder"
        ) from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
