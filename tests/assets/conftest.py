"""A toy asset of two files, and a package index that has it."""

import zipfile
from dataclasses import replace

import pytest

from quantbench.assets import (
    ASSETS,
    Asset,
    Installed,
    PyPI,
)
from tests.assets.toy import CONTENT, digest, file, wheel


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Asset:
    """An asset of two files whose only source has nothing."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    asset = Asset("toy", "two texts", "MIT", 10_000, (Installed("no-such-package"),), (file("a.txt"), file("b.txt")))
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


@pytest.fixture
def pip(toy, tmp_path, monkeypatch):
    """`toy` from an index in a local folder, through the real pip. Gives a function that (re)writes the wheel."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def offer(content: dict[str, bytes] = CONTENT, pinned: str | None = None) -> None:
        path = wheel(links / "toy_pack-1.0-py3-none-any.whl", content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("toy_pack-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-pack\nVersion: 1.0\n")
            archive.writestr("toy_pack-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        source = PyPI("toy-pack==1.0", pinned or digest(path.read_bytes()))
        monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(source,)))

    return offer
