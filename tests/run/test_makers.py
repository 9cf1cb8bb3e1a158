"""A finished row does not outlive the code that made it: a copy of the package, edited, in processes of its own."""

import os
import shutil
import subprocess
import sys

import pytest

from quantbench.results import store
from quantbench.results.maker import PACKAGE

RUN = ("run", "limit=50", "task.calibration_samples=16", "threads=1")


@pytest.fixture
def copy(tmp_path):
    """A checkout with nothing but what a run needs."""
    for name in ("quantbench", "conf", "hydra_plugins"):
        kept = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE.parent / name, tmp_path / "copy" / name, ignore=kept)
    return tmp_path / "copy"


def run(copy, *overrides):
    command = [sys.executable, "-m", "quantbench", *RUN, *overrides]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,), _ = store.read_rows(copy / "quantbench-results")
    return row, " ".join(done.stdout.split())


@pytest.mark.slow
def test_an_edited_package_measures_again(copy):
    before, _ = run(copy)
    assert before.quantized > 80
    same, said = run(copy)
    assert same == before and "1 of 1 cells were there before" in said and "maker" not in said

    file = copy / "quantbench" / "quant" / "simulate.py"
    source = file.read_text(encoding="utf-8")
    assert source.count("return restore(memory)\n") == 1
    file.write_text(source.replace("return restore(memory)\n", "return restore(memory.zero_())\n"), encoding="utf-8")
    kept, said = run(copy, "reuse=any")
    assert kept == before and "1 of 1 cells are of other makers" in said
    broken, said = run(copy)
    assert broken.quantized < 30 and broken.maker != before.maker and broken.code != before.code
    assert "1 of 1 cells measured again" in said
    again, said = run(copy)
    assert again == broken and "measured again" not in said
