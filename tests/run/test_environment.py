import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantbench.run.environment import isa, version_of

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
    code = "import sys; from quantbench.run.environment import isa; assert isa(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
