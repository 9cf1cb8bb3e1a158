from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from quantbench import __version__ as VERSION

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from what git would commit with the tools that are installed: no network."""
    pytest.importorskip("hatchling")
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("quantbench", "hydra_plugins", "conf", "results/paper"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(*pip, "--wheel-dir", str(output), str(source), cwd=source)
    return next(output.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_configuration_and_the_weights(wheel):
    assert wheel.name == f"quantbench-{VERSION}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    # Every file of the package that is no by-product is in it: code, weights, the split, the page.
    for folder in ("quantbench", "hydra_plugins"):
        for file in (path for path in (ROOT / folder).rglob("*.*") if path.is_file() and path.suffix != ".pyc"):
            assert file.relative_to(ROOT).as_posix() in names
    for folder, inside in [("conf", "conf"), ("results/paper", "paper")]:
        for file in (path for path in (ROOT / folder).rglob("*.*") if path.is_file()):
            assert f"quantbench/{inside}/{file.relative_to(ROOT / folder).as_posix()}" in names
    assert {name.split("/")[0] for name in names} == {"quantbench", "hydra_plugins", f"quantbench-{VERSION}.dist-info"}


@pytest.mark.slow
def test_the_installed_package_works_from_any_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    command = (sys.executable, "-m", "quantbench")
    settings = {"cwd": tmp_path / "elsewhere", "PYTHONPATH": str(tmp_path / "site")}
    assert run(*command, "--version", **settings) == f"quantbench {VERSION}\n"
    assert "model=resnet20_fashion" in run(*command, "list", **settings)
    assert "name: entropy" in run(*command, "run", "--cfg", "job", "calib=entropy", **settings)
    assert os.listdir(tmp_path / "elsewhere") == []
