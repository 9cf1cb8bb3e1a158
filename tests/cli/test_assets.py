from __future__ import annotations

import types

import pytest

from quantbench import assets as module
from quantbench.cli import main as cli
from quantbench.cli.assets import readable_size
from tests.shared import refused


@pytest.fixture
def assets(monkeypatch, tmp_path):
    """The real assets, with states and fetches of the test."""
    found = types.SimpleNamespace(states=dict.fromkeys(module.ASSETS, "missing"), fetched=[])
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "status", found.states.__getitem__)
    monkeypatch.setattr(module, "fetch", lambda name, force=False: found.fetched.append((name, force)) or tmp_path)
    return found


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_assets_are_listed_with_size_state_source_and_licence(assets, capsys, arguments):
    assets.states["foolbox_photos"] = "present"
    assert cli.main(["assets", *arguments]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["foolbox_photos"][1:8] == ["1.7", "MB", "present", "PyPI", "foolbox==3.3.4", "MIT", "(the"]
    assert lines["fashion_mnist"][1:6] == ["31", "MB", "missing", "Debian", "dataset-fashion-mnist,"]
    assert lines["cache:"] == ["cache:", str(module.cache_folder())]


def test_assets_fetch(assets, capsys):
    assert cli.main(["assets", "fetch", "all"]) == 0
    assert cli.main(["assets", "fetch", "--force", "foolbox_photos"]) == 0
    assert assets.fetched == [*((name, False) for name in assets.states), ("foolbox_photos", True)]
    capsys.readouterr()
    assert "did you mean fashion_mnist?" in refused(capsys, "assets", "fetch", "fashion-mnist")


def test_assets_verify_finds_what_is_corrupt(assets, capsys):
    assert cli.main(["assets", "verify"]) == 0
    assets.states["efficientnet_lite0"] = "corrupt"
    assert cli.main(["assets", "verify"]) == 1
    assert "quantbench assets fetch --force efficientnet_lite0" in capsys.readouterr().out


def test_readable_size():
    assert [readable_size(size) for size in (12, 1234, 45_000_000, 6.1e9)] == ["12 B", "1.2 kB", "45 MB", "6.1 GB"]
