"""The content of a toy asset, and what tests look at."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from quantbench import assets
from quantbench.assets import (
    File,
)
from quantbench.errors import UserError

CONTENT = {"a.txt": b"first " * 1000, "b.txt": b"second " * 1000}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(name: str, member: str = "") -> File:
    return File(name, member or f"pack/{name}", len(CONTENT[name]), digest(CONTENT[name]))


def wheel(path: Path, content: dict[str, bytes] = CONTENT, folder: str = "pack/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(folder + name, data)
        archive.writestr("../evil.txt", b"evil")
    return path


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def leftovers() -> list[Path]:
    return [path for path in (assets.cache_folder() / "assets").glob(".*") if path.is_dir()]
