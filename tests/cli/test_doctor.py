from __future__ import annotations

import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from quantbench.cli import doctor
from quantbench.cli import main as cli
from quantbench.results.maker import isa
from tests.shared import refused


@pytest.fixture(autouse=True)
def assets(monkeypatch, tmp_path):
    module = types.SimpleNamespace(
        ASSETS={"photos": None, "weights": None, "labels": None},
        status={"photos": "present", "weights": "missing", "labels": "corrupt"}.__getitem__,
        cache_folder=lambda: tmp_path / "cache",
    )
    monkeypatch.setitem(sys.modules, "quantbench.assets", module)
    return module


@pytest.fixture
def found(monkeypatch, capsys):
    """What doctor says by name, and its exit code."""
    monkeypatch.setattr(doctor, "PROBES", {"model hub": lambda: "no (refused)"})

    def called(*arguments):
        code = cli.main(["doctor", *arguments])
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
        return code, {name: value.strip() for name, value in (line.strip().split("  ", 1) for line in lines)}

    return called


def test_doctor_says_what_is_here_and_what_is_reachable(found, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "version_of", lambda package: None if "ray" in package else "1.5")
    code, said = found()
    assert code == 1  # for the damaged asset, which no run takes
    assert said["torch + torchvision"] == "match" and said["best for int8"] == isa()
    assert said["torch"] == "1.5" and said["hydra-ray-launcher"].startswith("not installed")
    assert (said["folder"], said["writable"]) == (str(tmp_path / "cache"), "yes")
    assert said["photos"] == "present"
    assert said["weights"] == "missing (quantbench assets fetch weights)"
    assert said["labels"] == "BROKEN: corrupt (quantbench assets fetch --force labels)"
    assert said["model hub"] == "no (refused)"


def test_a_sound_machine_has_nothing_broken(found, assets):
    assets.status = lambda name: "present"
    code, said = found("--offline")
    assert code == 0 and "model hub" not in said
    assert not [value for value in said.values() if value.startswith("BROKEN")]


def test_a_cache_that_is_full_or_cannot_be_written_is_broken(found, assets, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=9e8))
    assert found("--offline")[1]["free"].startswith("BROKEN: 0.9 GB of the 1 GB that may be needed: free some")
    (tmp_path / "file").write_text("")
    assets.cache_folder = lambda: tmp_path / "file" / "cache"
    code, said = found("--offline")
    assert code == 1
    assert said["writable"] == "BROKEN: Not a directory: name another folder in QUANTBENCH_CACHE"


def test_a_torchvision_for_another_torch_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    assert doctor._operators().startswith("BROKEN: torchvision does not match torch")


def test_an_argument_that_is_none_is_refused(capsys):
    assert "unrecognized arguments: --nonsense" in refused(capsys, "doctor", "--nonsense")


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
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_site_is_reachable_if_it_answers_itself(site, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(doctor, "SECONDS", 0.1)
    url = f"http://127.0.0.1:{site.server_port}"
    answers = {}
    for code in (200, 404, 403, 503):
        site.code = code
        answers[code] = doctor._site(url)
    assert answers == {200: "yes", 404: "yes", 403: "no (refused)", 503: "no (refused)"}
    site.seconds = 0.2
    assert doctor._site(url).startswith("no (")
    assert doctor._site("http://127.0.0.1:1").startswith("no (")
