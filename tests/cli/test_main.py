from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantbench import console
from quantbench.cli import inspect as inspect_command
from quantbench.cli import main as cli
from quantbench.cli import summary
from quantbench.cli.assets import readable_size
from quantbench.errors import UserError
from tests.shared import refused

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Jobs:
    """Stands in for the runner: notes what it was called with."""

    seen: list[tuple[str, ...]]
    summaries: list[tuple[Path, str]]
    summary_code: int = 0
    error: BaseException | None = None


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Jobs]:
    result = Jobs([], [])

    def run_job(config):
        result.seen.append((config.model.name, config.task.name, config.calib.name, os.environ["QUANTBENCH_RUN"]))
        if result.error is not None:
            raise result.error

    def print_summary(results_dir: Path, run: str, **_: bool) -> int:
        result.summaries.append((results_dir, run))
        return result.summary_code

    monkeypatch.setitem(sys.modules, "quantbench.run.job", types.SimpleNamespace(run_job=run_job))
    monkeypatch.setattr(summary, "print_summary", print_summary)
    monkeypatch.chdir(tmp_path)
    yield result


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from quantbench.cli.main import main; main(['--help']); main(['run', '--help']); main(['list']);"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: quantbench" in done.stdout
    assert time.perf_counter() - start < 5  # far above what it takes, for a busy machine; make bench measures


@pytest.mark.parametrize("command", ["run", "inspect", "list", "assets", "doctor"])
def test_every_command_has_help(command, capsys):
    try:
        assert cli.main([command, "--help"]) == 0
    except SystemExit as leave:  # argparse's own way
        assert leave.code == 0
    assert f"usage: quantbench {command}" in capsys.readouterr().out


def test_unknown_command_names_the_nearest(capsys):
    assert "did you mean inspect?" in refused(capsys, "inspct")


def test_run_without_arguments(jobs, capsys):
    assert cli.main(["run"]) == 0
    assert [job[:3] for job in jobs.seen] == [("resnet20_fashion", "fashion_mnist", "max")]
    assert jobs.summaries == [(Path("quantbench-results"), jobs.seen[0][3])]
    assert os.listdir() == ["quantbench-results"]
    assert os.listdir("quantbench-results") == ["cells"]


def test_run_sweeps(jobs):
    assert cli.main(["run", "-m", "model=resnet18,efficientnet_lite0", "calib=max,mse", "results_dir=out"]) == 0
    assert [job[:3] for job in jobs.seen] == [
        ("resnet18", "imagenet", "max"),
        ("resnet18", "imagenet", "mse"),
        ("efficientnet_lite0", "imagenet_photos", "max"),
        ("efficientnet_lite0", "imagenet_photos", "mse"),
    ]
    assert len({job[3] for job in jobs.seen}) == 1
    assert [folder for folder, _ in jobs.summaries] == [Path("out")]
    assert os.listdir() == ["out"]
    assert sorted(os.listdir("out")) == ["cells", "multirun"]


def test_run_takes_the_summarys_exit_code(jobs):
    jobs.summary_code = 2
    assert cli.main(["run"]) == 2


def test_run_finds_groups_of_ones_own(jobs, tmp_path):
    (tmp_path / "mine" / "calib").mkdir(parents=True)
    (tmp_path / "mine" / "calib" / "half.yaml").write_text("# half of the largest\nname: half\n")
    assert cli.main(["run", "--config-dir", "mine", "calib=half"]) == 0
    assert jobs.seen[0][2] == "half"


def test_run_sweeps_what_a_file_lists(jobs, tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      calib: {}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text.format("max,mse"))
    assert cli.main(["run", "--config-dir", ".", "experiment=mine"]) == 0
    assert [job[2] for job in jobs.seen] == ["max", "mse"]
    (tmp_path / "experiment" / "mine.yaml").write_text(text.format("mse\n      limit: null\n      fold_bn: true"))
    assert cli.main(["run", "--config-dir", ".", "experiment=mine"]) == 0
    assert [job[2] for job in jobs.seen[2:]] == ["mse"]  # limit=None would be invalid
    (tmp_path / "experiment" / "mine.yaml").write_text(text.format("max,entrpy"))
    assert "did you mean entropy?" in refused(capsys, "run", "--config-dir", ".", "experiment=mine")


def test_cfg_shows_the_configuration_and_runs_nothing(jobs, capsys):
    assert cli.main(["run", "--cfg", "job", "calib=entropy"]) == 0
    assert "calib:\n  name: entropy\n" in capsys.readouterr().out
    assert jobs.seen == []
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model=resnet20_fasion"], "no model resnet20_fasion: did you mean resnet20_fashion?"),
        (["-m", "calib=max,entrpy"], "no calib entrpy: did you mean entropy?"),
        (["modle=resnet18"], "no override modle: did you mean model?"),
        (["weight_bit=4"], "no override weight_bit: did you mean weight_bits?"),
        (["+limits=4"], "no override limits: did you mean limit?"),
        (["experiment=table9"], "no experiment table9: did you mean table"),
        (["calib.percentile=99.9"], "no override calib.percentile: only with calib=percentile"),
        (["-m", "calib=entropy,max", "calib.percentile=99.9"], "only with calib=percentile"),
        (["calib.percentil=99.9"], "no override calib.percentil: did you mean calib.percentile?"),
        (
            ["experiment=table4", "task.path=/data"],
            "no override task.path: only with task=imagenet or task=librispeech or task=squad or task=unsupported",
        ),
        (["experiment=table4", "suite=paper", "task.path=/data", "--cfg", "job"], "task.path: only with task=imagenet"),
        (["experiment=table4", "suite=paper", "task.paht=/data"], "no override task.paht: did you mean task.path?"),
        (["experiment=table4", "suite=paper", "task.path=/data", "seeed=1"], "no override seeed: did you mean seed?"),
        (["experiment=table4", "suite=paper", "task.path=/data", "+limits=4"], "limits: did you mean limit?"),
        (["calib=max,mse"], "calib=max,mse is a sweep: add -m"),
        (["--cfg", "job", "calib=max,mse"], "calib=max,mse is a sweep: give one value"),
        (["-m", "--cfg", "job"], "leave out -m"),
        (["-m", "model=glob(nothing*)"], "matches nothing"),
        (["limit"], "cannot read the override limit: write key=value"),
        (["limit=[1"], "cannot read the override limit=[1"),
        (["--nonsense"], "--nonsense"),
        (["--config-dir", "nowhere"], "no folder nowhere"),
        (["hydra/launcher=nowhere"], "no hydra/launcher nowhere"),
        (["hydra.nonsense=1"], "nonsense"),
    ],
)
def test_run_refuses_in_one_line_before_anything_runs(arguments, expected, jobs, capsys):
    assert expected in refused(capsys, "run", *arguments)
    assert jobs.seen == []
    assert os.listdir() == []


@pytest.mark.parametrize("text", ["name: [half\n", "name: ${nothing\n", "- a list\n", "defaults: [nothing]\n"])
def test_run_refuses_a_broken_file(text, jobs, tmp_path, capsys):
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "broken.yaml").write_text(text)
    refused(capsys, "run", "--config-dir", ".", "calib=broken")
    assert jobs.seen == []


def test_debug_shows_the_traceback(jobs):
    with pytest.raises(UserError):
        cli.main(["run", "--debug", "model=nothing"])


def test_run_refuses_a_results_folder_that_cannot_be_written(jobs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    message = refused(capsys, "run", "results_dir=file/results")
    assert "results_dir=file/results: cannot write there" in message
    assert jobs.seen == []


def test_interrupt_still_prints_what_is_finished(jobs, capsys):
    jobs.error = KeyboardInterrupt()
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err.startswith("interrupted: ")
    assert len(jobs.summaries) == 1


def test_unexpected_error_is_one_line_and_still_prints_what_is_finished(jobs, capsys):
    jobs.error = RuntimeError("first\nsecond")
    assert cli.main(["run"]) == 1
    assert capsys.readouterr().err.endswith("quantbench: RuntimeError: first second (--debug shows where)\n")
    assert len(jobs.summaries) == 1


def test_list_marks_defaults_and_finds_groups_of_ones_own(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# @package model\n# my network\nname: mine\n")
    assert cli.main(["list", "model", "--config-dir", str(tmp_path)]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["model=mine", "my", "network"] in lines
    assert [line[0] for line in lines if line[1] == "*"] == ["model=resnet20_fashion"]


def test_list_refuses_an_unknown_group(capsys):
    assert "did you mean model?" in refused(capsys, "list", "models")


def test_broken_pipe_is_silent():
    code = f"{sys.executable} -m quantbench list | true"
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@dataclass(frozen=True)
class Site:
    operand: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    sites: tuple[Site, ...]
    parameters: int
    macs: int


LAYERS = [
    Layer("stem.conv", "conv2d", (Site("input", (1, 3, 8, 8)), Site("weight", (4, 3, 3, 3))), 112, 6912),
    Layer("encoder." * 12 + "matmul_0", "matmul", (Site("lhs", (1, 8, 8)), Site("rhs", (1, 8, 8))), 0, 512),
]


def test_inspect_prints_every_layer(monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    network = types.SimpleNamespace(module=torch.nn.Conv2d(3, 4, 3), example=(torch.zeros(1, 3, 8, 8),))
    layers = types.SimpleNamespace(find_layers=lambda module, *example, residual_adds: LAYERS)
    seen = []
    networks = types.SimpleNamespace(load=lambda config: seen.append((config["weights"], config["seed"])) or network)
    monkeypatch.setitem(sys.modules, "quantbench.networks", networks)
    monkeypatch.setitem(sys.modules, "quantbench.quant.layers", layers)
    assert cli.main(["inspect", "model=resnet18", "model.weights=random"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert seen == [("random", 0)]
    assert lines[1].split() == ["stem.conv", "conv2d", "input", "1x3x8x8,", "weight", "4x3x3x3", "112", "6,912"]
    assert lines[2].startswith("encoder." * 12 + "matmul_0")
    assert lines[-1] == "2 layers, 4 sites, 112 parameters, 7.4e-06 G MACs"


def test_inspect_refuses_like_run(capsys):
    assert "did you mean resnet18?" in refused(capsys, "inspect", "model=resnet-18")
    assert "leave out -m" in refused(capsys, "inspect", "-m", "model=resnet18,resnet50")


def test_totals_are_in_giga():
    big = Layer("a", "linear", (), 0, 1_819_066_368)
    assert inspect_command.totals([big], 11_689_512) == "1 layers, 0 sites, 11689512 parameters, 1.82 G MACs"
    assert inspect_command.totals([Layer("a", "linear", (), 0, 40_600_000)], 1).endswith("0.041 G MACs")


def test_a_narrow_terminal_folds_and_loses_nothing(monkeypatch, capsys):
    monkeypatch.setattr(console, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    result = console.table("layer", "kind")
    console.row(result, "[x]" + "encoder." * 30, "conv2d")
    console.show(result)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line.split()[0] for line in lines[1:]).replace("conv2d", "") == "[x]" + "encoder." * 30


@pytest.fixture
def assets(monkeypatch, tmp_path):
    """The real assets, with states and fetches of the test."""
    from quantbench import assets as module

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
    assert lines["cache:"] == ["cache:", str(assets_cache())]


def assets_cache():
    from quantbench.assets import cache_folder

    return cache_folder()


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
