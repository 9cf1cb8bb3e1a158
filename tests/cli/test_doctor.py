from __future__ import annotations

import subprocess
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from quantbench.cli import doctor
from quantbench.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def assets(monkeypatch, tmp_path):
    module = types.SimpleNamespace(
        ASSETS={"photos": None, "weights": None, "labels": None},
        status={"photos": "present", "weights": "missing", "labels": "corrupt"}.__getitem__,
        cache_folder=lambda: tmp_path / "cache",
    )
    monkeypatch.setitem(sys.modules, "quantbench.assets", module)
    return module


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
    assert doctor.isa(tmp_path / "cpuinfo") == expected


def test_isa_without_cpuinfo_is_the_architecture(monkeypatch, tmp_path):
    monkeypatch.setattr("platform.machine", lambda: "Riscv64")
    assert doctor.isa(tmp_path / "nothing") == "riscv64"


def test_isa_needs_no_torch():
    code = "import sys; from quantbench.doctor import isa; assert isa(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_doctor_says_what_is_here_and_what_is_reachable(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(doctor, "PROBES", {"model hub": lambda: "no (refused)"})
    assert cli.main(["doctor"]) == 1  # for the damaged asset, which no run takes
    found = dict(line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines() if line[:2] == "  ")
    found = {name: value.strip() for name, value in found.items()}
    assert found["torch + torchvision"] == "match"
    assert found["best for int8"] == doctor.isa()
    assert (found["folder"], found["writable"]) == (str(tmp_path / "cache"), "yes")
    assert found["photos"] == "present"
    assert found["weights"] == "missing (quantbench assets fetch weights)"
    assert found["labels"] == "BROKEN: corrupt (quantbench assets fetch --force labels)"
    assert found["model hub"] == "no (refused)"


def test_a_cache_that_cannot_be_written_is_broken(assets, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assets.cache_folder = lambda: tmp_path / "file" / "cache"
    assert cli.main(["doctor", "--offline"]) == 1
    assert "BROKEN: Not a directory" in capsys.readouterr().out


def test_a_torchvision_for_another_torch_is_broken(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    assert doctor._operators().startswith("BROKEN: torchvision does not match torch")


@pytest.fixture
def site():
    """A server on this machine that answers as told."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            time.sleep(server.seconds)
            self.send_response(server.code)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.code, server.seconds = 200, 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_site_is_reachable_if_it_answers_itself(site, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(doctor, "SECONDS", 0.3)
    url = f"http://127.0.0.1:{site.server_port}"
    answers = {}
    for code in (200, 404, 403, 503):
        site.code = code
        answers[code] = doctor._site(url)
    assert answers == {200: "yes", 404: "yes", 403: "no (refused)", 503: "no (refused)"}
    site.seconds = 0.6
    assert doctor._site(url).startswith("no (")
    assert doctor._site("http://127.0.0.1:1").startswith("no (")
