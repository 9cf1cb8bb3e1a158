"""What a file holds, told by its checksum."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from quantbench.errors import UserError


def content_sha256(*files: Path) -> str:
    """The sha256 of the files one behind the other, in hex; what has not changed is read once. Raises UserError."""
    try:
        return _content_sha256(tuple((str(file), identity(file.stat())) for file in files))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror})") from error


def identity(found: os.stat_result) -> tuple[int, ...]:
    """What tells a file from all others and from what it was before: no program can set the time of change (ctime)."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=256)
def _content_sha256(files: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    digest = hashlib.sha256()
    for name, _ in files:
        with open(name, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
