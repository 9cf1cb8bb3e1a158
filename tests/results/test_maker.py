import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from quantbench.results import maker
from quantbench.results.maker import code_version, isa, version_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_the_package_and_none_where_there_is_none():
    assert version_of("numpy") == np.__version__
    assert version_of("quantbench-has-no-such-package") is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx avx2 avx512f avx512bw avx512_vnni amx_int8", "amx_int8"),
        ("flags\t\t: fpu avx avx2 avx512f avx512bw avx512_vnni", "avx512_vnni"),
        ("flags\t\t: fpu avx avx2 avx_vnni", "avx_vnni"),
        ("flags\t\t: fpu avx avx2 avx512f avx512bw", "avx512"),
        ("flags\t\t: fpu avx avx2 avx512f", "avx2"),
        ("Features\t: fp asimd asimddp i8mm", "neon_i8mm"),
        ("Features\t: fp asimd", "neon"),
    ],
)
def test_isa_is_the_best_of_the_flags(line, expected, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A CPU: big\n{line}\n\nprocessor\t: 1\n")
    assert isa(tmp_path / "cpuinfo") == expected


def test_isa_without_cpuinfo_is_the_architecture(monkeypatch, tmp_path):
    monkeypatch.setattr("platform.machine", lambda: "Riscv64")
    assert isa(tmp_path / "nothing") == "riscv64"


def test_isa_needs_no_torch():
    code = "import sys; from quantbench.results.maker import isa; assert isa(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture
def package(tmp_path):
    """A copy of the package's sources."""
    kept = shutil.ignore_patterns("__pycache__", "*.safetensors")
    return shutil.copytree(maker.PACKAGE, tmp_path / "quantbench", ignore=kept)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        *((name, True) for name in ("quant/mapping.py", "methods/ptq.py", "tasks/trec.py", "results/stats.py")),
        *((name, True) for name in ("assets/catalogue.yaml", "networks/weights/resnet20_fashion.json", "lookup.py")),
        *((name, False) for name in ("cli/run.py", "report/build.py", "gate/drop.py", "console.py")),
    ],
)
def test_the_code_is_another_where_a_file_that_computes_is(package, file, changes):
    before = code_version(package=package)
    code_version.cache_clear()
    (package / file).write_text((package / file).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert (code_version(package=package) != before) is changes


def test_a_file_that_moves_makes_other_code(package):
    before = code_version(package=package)
    code_version.cache_clear()
    (package / "quant" / "mapping.py").rename(package / "quant" / "other.py")
    assert code_version(package=package) != before


def test_the_code_is_looked_at_once_and_that_takes_no_time():
    code_version.cache_clear()
    began = time.process_time()
    for _ in range(1000):
        maker.maker_id("cpu")
    assert time.process_time() - began < 0.5 and code_version.cache_info().misses == 1


def test_all_that_computes_is_code(package):
    """What a run imports, but for what only calls or prints."""
    rooms = {path.relative_to(package).parts[0] for path in package.rglob("*.py")}
    rest = {"__init__.py", "__main__.py", "cli", "console.py", "errors.py", "gate", "report", "results", "sweep"}
    assert rooms - {source.split("/")[0] for source in maker.COMPUTES} == rest - {"results", "sweep"}
