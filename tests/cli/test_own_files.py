"""`quantbench run` as Hydra's users know it: their sweepers, search paths, callbacks, logs and files of their own."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from quantbench.cli import main as cli
from quantbench.run import reference

SMALL = ("task=synthetic", "model.weights=random", "limit=4", "task.calibration_samples=4")


@pytest.fixture
def run(folder, monkeypatch):
    """Runs a command in an empty folder; gives the exit code and the rows of its results."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(sys, "path", [*sys.path])

    def command(*arguments: str) -> tuple[int, list[dict[str, str]]]:
        code = cli.main(["run", *arguments])
        results = Path("quantbench-results/results.csv")
        return code, list(csv.DictReader(results.open(newline=""))) if results.exists() else []

    return command


def write(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_a_sweep_in_hydras_own_sweeper(run):
    code, rows = run("-m", "hydra/sweeper=basic", *SMALL, "weight_bits=4,8")
    assert (code, sorted(row["weight_bits"] for row in rows)) == (0, ["4", "8"])


def test_a_search_path(run):
    write("groups/calib/wide.yaml", "# Wide\nname: percentile\npercentile: 99.5\n")
    code, rows = run(f"hydra.searchpath=[file://{Path('groups').absolute()}]", "calib=wide", *SMALL)
    assert (code, rows[0]["calib_options"]) == (0, "percentile=99.5")


CALLBACK = """
from pathlib import Path
from hydra.experimental.callback import Callback

class Mark(Callback):
    def on_job_end(self, config, job_return, **_):
        Path("marked").write_text(f"{config.weight_bits} bits")
"""


def test_a_callback_a_variable_and_a_log_file_of_ones_own(run):
    write("mine/my_callbacks.py", CALLBACK)
    code, _ = run(
        *("--config-dir", "mine", "+hydra.callbacks.mark._target_=my_callbacks.Mark"),
        *("+hydra.job.env_set.HF_TOKEN=x", "hydra/job_logging=default", *SMALL),
    )
    assert code == 0
    assert Path("marked").read_text() == "8 bits"
    assert Path("quantbench.log").is_file()


def test_an_experiment_of_many_interpolations(run):
    keys = "\n".join(f"    key{i}: ${{method.numbers.key{i - 1}}}" for i in range(1, 21))
    write(
        "mine/method/counted.yaml",
        f"# Counts\nname: counted\n_target_: counting.quantize\nnumbers:\n    key0: 5\n{keys}\n",
    )
    write(
        "mine/counting.py",
        "from quantbench.methods import ptq\n"
        "def quantize(bench, numbers):\n    assert numbers['key20'] == 5\n    return ptq.quantize(bench)\n",
    )
    write(
        "mine/experiment/many.yaml",
        "# @package _global_\n# Many\ndefaults:\n  - override /method: counted\nweight_bits: ${method.numbers.key20}\n",
    )
    code, rows = run("--config-dir", "mine", "experiment=many", *SMALL)
    assert (code, rows[0]["weight_bits"], rows[0]["status"]) == (0, "5", "ok")


METHOD = """
import torch
from quantbench.methods import ptq
from quantbench.methods.method import Quantized

def quantize(bench, factor: float = 1.0):
    with torch.no_grad():  # the copy is the method's own: the next cell must not see this
        for parameter in bench.module.parameters():
            parameter.mul_(factor)
    bench.histograms().clear()
    bench.example[0].fill_(float("nan"))
    found = ptq.quantize(bench)
    return Quantized(found.module, found.layers, found.ranges, found.mappings, {"factor": factor})
"""
BACKEND = """
from contextlib import contextmanager
from quantbench.backends import simulate
from quantbench.backends.backend import Execution

@contextmanager
def open(quantized, example):
    with simulate.open(quantized, example) as inner:
        yield Execution(lambda *batch: -inner.run(*batch), "mirror", 7)
"""
CALIBRATOR = "def half(histogram, bits, share: float = 0.5):\n    return share * histogram.largest\n"


def test_a_method_a_backend_and_a_calibrator_are_a_file_and_a_yaml_each(run):
    """In one sweep with ours, so that a method that changes its network is seen not to touch the others."""
    write("mine/my_method.py", METHOD)
    write("mine/my_backend.py", BACKEND)
    write("mine/my_calibrator.py", CALIBRATOR)
    write(
        "mine/method/scaled.yaml",
        "# Scales all weights first\nname: scaled\n_target_: my_method.quantize\nfactor: 0.5\n",
    )
    write("mine/backend/mirror.yaml", "# Turns the sign\nname: mirror\n_target_: my_backend.open\n")
    write(
        "mine/calib/half.yaml", "# Half of the largest value\nname: half\n_target_: my_calibrator.half\nshare: 0.25\n"
    )
    _, (plain,) = run(*SMALL)
    code, rows = run(
        "-m",
        "--config-dir",
        "mine",
        *SMALL,
        "force=true",
        "method=scaled,ptq",
        "backend=simulate,mirror",
        "calib=max,half",
    )
    assert (code, len(rows)) == (0, 8)
    assert {row["status"] for row in rows} == {"ok"}
    found = {(row["method"], row["backend"], row["calib"]): row for row in rows}
    assert found["ptq", "simulate", "max"]["sqnr_db"] == plain["sqnr_db"]
    assert float(found["scaled", "simulate", "max"]["sqnr_db"]) < 20 < float(plain["sqnr_db"])
    assert float(found["ptq", "mirror", "max"]["sqnr_db"]) == pytest.approx(-6.0, abs=0.5)  # |y - -y| is twice |y|
    assert found["ptq", "simulate", "half"]["calib_options"] == "share=0.25"
    assert found["scaled", "simulate", "max"]["method_options"] == "factor=0.5"
    record = json.loads(Path(f"quantbench-results/cells/{found['scaled', 'mirror', 'max']['cell']}.json").read_text())
    assert (record["notes"], record["engine"]) == ({"factor": 0.5}, {"name": "mirror", "int8_layers": 7})


def test_an_edited_file_is_another_cell(run):
    write("mine/scaling_calibrator.py", "def scaled(histogram, bits):\n    return 0.5 * histogram.largest\n")
    write("mine/calib/scaled.yaml", "# Half\nname: scaled\n_target_: scaling_calibrator.scaled\n")
    _, before = run("--config-dir", "mine", "calib=scaled", *SMALL)
    write("mine/scaling_calibrator.py", "def scaled(histogram, bits):\n    return 0.25 * histogram.largest  # edited\n")
    sys.modules.pop("scaling_calibrator")  # as in another process
    _, after = run("--config-dir", "mine", "calib=scaled", *SMALL)
    assert (len(before), len(after)) == (1, 2)
    assert len({row["sqnr_db"] for row in after}) == 2


NOTED = """
import numpy as np
from quantbench.methods import ptq
from quantbench.methods.method import Quantized

def notes(bench):
    found = ptq.quantize(bench)
    return Quantized(found.module, found.layers, found.ranges, found.mappings, {"x": np.ones(2)})

def nothing(bench):
    return None

def writes(bench):
    for histogram in bench.histograms().values():
        histogram.counts[:] = 1
    return ptq.quantize(bench)
"""


def test_a_method_that_gives_nonsense_fails_its_own_cell_only(run):
    write("mine/odd_methods.py", NOTED)
    for name in ("notes", "nothing", "writes"):
        write(f"mine/method/{name}.yaml", f"# Odd\nname: {name}\n_target_: odd_methods.{name}\n")
    code, rows = run("-m", "--config-dir", "mine", *SMALL, "method=notes,nothing,writes,ptq")
    assert code in (1, 2)
    found = {row["method"]: row["status"] == "ok" for row in rows}
    assert found == {"notes": False, "nothing": False, "writes": False, "ptq": True}


NETWORK = """
import torch
from quantbench.networks.network import Network

def load(*, name, weights="random", seed=0):
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    module.load_state_dict(torch.load("weights.pt", weights_only=True))
    return Network(name, module, None, (torch.zeros(1, 4),), "mine", "none")
"""


def test_other_weights_of_ones_own_loader_are_never_held_against_kept_outputs(run):
    write("mine/own_network.py", NETWORK)
    write("mine/model/own.yaml", "# Mine\nname: own\n_target_: own_network.load\n")
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        torch.save(module.state_dict(), "weights.pt")
        reference.forget()
        _, rows = run("--config-dir", "mine", "model=own", "force=true", SMALL[0], *SMALL[2:])
        found.append(float(rows[0]["sqnr_db"]))
    assert min(found) > 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('boom')", "boom"),
        ("def f(", "SyntaxError"),
        ("f = 5", "no function"),
        ("def f(histogram, bits):\n    return histogram.counts[50]", "out of bounds"),
        ("def f(histogram, bits, *, share):\n    return 1.0", "share"),
    ],
)
def test_a_file_of_ones_own_that_cannot_be_used_is_one_line(run, capsys, text, words):
    write("mine/broken_calibrator.py", text)
    write("mine/calib/broken.yaml", "# Broken\nname: broken\n_target_: broken_calibrator.f\n")
    sys.modules.pop("broken_calibrator", None)
    assert run("--config-dir", "mine", "calib=broken", *SMALL) == (2, [])
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_an_option_that_a_method_does_not_have_is_refused(run, capsys):
    code, rows = run("+method.epochs=3", *SMALL)
    assert (code, rows) == (2, [])
    assert "method=ptq" in capsys.readouterr().err


def test_config_path_would_leave_out_our_files(run):
    assert run("--config-path", "elsewhere") == (2, [])
