"""`quantbench run`: what it refuses before anything runs, what it hands to Hydra, and the whole way to the rows."""

from __future__ import annotations

import csv
import os
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantbench.cli import main as cli
from quantbench.cli import summary
from quantbench.errors import UserError
from tests import faulty
from tests.shared import refused

SMALL = ("limit=20", "task.calibration_samples=16")


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


def test_run_without_arguments(jobs):
    jobs.summary_code = 2
    assert cli.main(["run"]) == 2
    assert [job[:3] for job in jobs.seen] == [("resnet20_fashion", "fashion_mnist", "max")]
    assert jobs.summaries == [(Path("quantbench-results"), jobs.seen[0][3])]


def test_options_stand_where_the_user_likes_and_a_folder_has_any_name(jobs):
    name = "a b=c,größe(1)"
    sweep = ("model=resnet18,efficientnet_lite0", "-m", "calib=max,mse", f"results_dir='{name}'")
    assert cli.main(["run", *sweep]) == 0
    assert [job[:3] for job in jobs.seen] == [
        ("resnet18", "imagenet", "max"),
        ("resnet18", "imagenet", "mse"),
        ("efficientnet_lite0", "imagenet_photos", "max"),
        ("efficientnet_lite0", "imagenet_photos", "mse"),
    ]
    assert len({job[3] for job in jobs.seen}) == 1
    assert [folder for folder, _ in jobs.summaries] == [Path(name)]
    assert os.listdir() == [name]
    assert sorted(os.listdir(name)) == ["cells", "multirun"]


def test_run_finds_groups_of_ones_own(jobs, tmp_path):
    (tmp_path / "mine" / "calib").mkdir(parents=True)
    (tmp_path / "mine" / "calib" / "half.yaml").write_text("# half of the largest\nname: half\n")
    assert cli.main(["run", "--config-dir", "mine", "calib=half"]) == 0
    assert jobs.seen[0][2] == "half"


def test_run_sweeps_what_a_file_lists(jobs, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      calib: mse,max\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(f"{text}      limit: null\n      fold_bn: true\n")
    assert cli.main(["run", "--config-dir", ".", "experiment=mine"]) == 0
    assert [job[2] for job in jobs.seen] == ["mse", "max"]  # limit=None would be invalid


def test_cfg_shows_the_configuration_and_runs_nothing(jobs, capsys):
    assert cli.main(["run", "--cfg", "job", "calib=entropy"]) == 0
    assert "calib:\n  name: entropy\n" in capsys.readouterr().out
    assert jobs.seen == []
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model=resnet20_fasion"], "no model resnet20_fasion: did you mean resnet20_fashion?"),
        (["modle=resnet18"], "no override modle: did you mean model?"),
        (["experiment=table9"], "no experiment table9: did you mean table"),
        (["calib.percentile=99.9"], "no override calib.percentile: only with calib=percentile"),
        (["calib=max,mse"], "calib=max,mse is a sweep: add -m"),
        (["-m", "--cfg", "job"], "leave out -m"),
        (["-m", "model=glob(nothing*)"], "matches nothing"),
        (["limit"], "cannot read the override limit: write key=value"),
        (["model=18"], "no model 18: "),
        (["calib=null"], "no calib None: "),
        (["results_dir=gr\udcf6sse"], "the locale cannot spell it; set PYTHONUTF8=1"),
        (["-m", "results_dir=a,b"], "results_dir must be the same for all jobs"),
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


@pytest.mark.parametrize("text", ["name: [half\n", "defaults: [nothing]\n"])
def test_run_refuses_a_broken_file(text, jobs, tmp_path, capsys):
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "broken.yaml").write_text(text)
    refused(capsys, "run", "--config-dir", ".", "calib=broken")
    assert jobs.seen == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["results_dir=file/results"], "results_dir=file/results: cannot write there"),
        (["-m", "results_dir=file/results"], "results_dir=file/results: cannot write there"),
        (["+limits=4"], "no override limits: did you mean limit?"),
        (["weight_bits=99"], "weight_bits=99: must be an integer from 2 to 8"),
    ],
)
def test_run_refuses_what_the_job_finds_wrong_and_leaves_nothing(arguments, expected, folder, capsys):
    Path("file").write_text("")
    assert expected in refused(capsys, "run", *arguments)
    assert os.listdir() == ["file"]


def test_a_key_that_no_network_of_the_sweep_has_is_said_once(folder, capsys):
    assert cli.main(["run", "experiment=table4", "task.path=/data", "suite.models='resnet20_fashion,minilm_trec'"]) == 2
    assert capsys.readouterr().out.count("left out: no override task.path: only with task=imagenet or") == 1


def test_unexpected_error_is_one_line_and_still_prints_what_is_finished(jobs, capsys):
    jobs.error = RuntimeError("first\nsecond")
    assert cli.main(["run"]) == 1
    assert capsys.readouterr().err.endswith("quantbench: RuntimeError: first second (--debug shows where)\n")
    assert len(jobs.summaries) == 1


def rows(path="quantbench-results/results.csv"):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(folder, monkeypatch):
    """The command with a small network, whose passes and targets a test changes."""
    command = faulty.install(folder, monkeypatch)
    return lambda *overrides: cli.main([*command, *overrides])


def test_a_run_prints_one_row_and_keeps_it(folder, capsys):
    assert cli.main(["run", "calib=entropy", *SMALL]) == 0
    output = capsys.readouterr().out
    assert "resnet20_fashion  w8 per_channel, a8 entropy" in output
    assert "top1 on 20 labelled samples of fashion_mnist" in output
    (row,) = rows()
    assert (row["status"], row["samples"], row["error"]) == ("ok", "20", "")
    assert f"{float(row['fp32']):.2f}" in output and f"{float(row['change']):+.2f}" in output
    assert cli.main(["run", "calib=entropy", *SMALL]) == 0
    assert "1 of 1 cells were there before" in capsys.readouterr().out


def test_a_failed_cell_is_a_row_that_stays_until_retry_tries_it_again(run, capsys, monkeypatch):
    def missing(_):
        raise UserError("no data")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faulty.Settings, "targets", staticmethod(missing))
        assert run("-m", "weight_bits=8,7") == 2
        lines = capsys.readouterr().err.splitlines()
        assert [re.sub(" w. .*: ", " ", line) for line in lines[:2]] == ["1/2  faulty, failed", "2/2  faulty, failed"]
        assert lines[2:] == ["quantbench: faulty, 2 cells: no data"]
        assert [row["status"] for row in rows()] == ["failed", "failed"]
    assert run("-m", "weight_bits=8,7") == 2
    captured = capsys.readouterr()
    assert "2 of 2 cells were there before" in captured.out and "retry=failed tries it again" in captured.err
    assert run("-m", "weight_bits=8,7", "retry=failed") == 0
    assert re.search(r"a8 max: \d+\.00 -> \d+\.00, \d+\.\d s\n", capsys.readouterr().err)
    assert [row["status"] for row in rows()] == ["ok", "ok"]


def test_combinations_that_do_not_go_together_are_left_out_with_their_reason(run, capsys):
    assert run("-m", "calib=max,percentile", "calib.percentile=99.9") == 0
    assert "left out: no override calib.percentile: only with calib=percentile" in capsys.readouterr().out
    assert [row["calib"] for row in rows()] == ["percentile"]


def test_a_task_of_other_classes_is_refused(folder, capsys):
    said = "the network knows the classes of imagenet, the task asks for those of fashion_mnist"
    assert cli.main(["run", "model=efficientnet_lite0", "task=fashion_mnist"]) == 2
    assert said in capsys.readouterr().err
    assert os.listdir() == []


def test_force_measures_again_and_never_loses_a_good_row(run, capsys, monkeypatch):
    def broken(kind, batch):
        assert kind != "quantized"

    assert run() == 0
    before = rows()
    assert run("force=true") == 0
    assert [row["change"] for row in rows()] == [row["change"] for row in before]
    monkeypatch.setattr(faulty.Settings, "before", staticmethod(broken))
    assert run("force=true") == 2
    assert "measured again in vain: " in capsys.readouterr().err
    assert [row["status"] for row in rows()] == ["ok"]


def test_another_file_of_weights_is_another_cell(folder):
    from safetensors.torch import save_file

    from quantbench import networks

    for seed in (0, 1):
        config = {"name": "resnet20_fashion", "family": "fashion", "weights": "random", "seed": seed}
        save_file(networks.load(config).module.state_dict(), folder / "mine.safetensors")
        assert cli.main(["run", "model.weights=mine.safetensors", *SMALL]) == 0
    first, second = rows()
    assert first["cell"] != second["cell"] and first["sqnr_db"] != second["sqnr_db"]
