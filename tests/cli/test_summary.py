"""The whole way: the command line, Hydra, a real network on real photos, records, the table."""

import csv
import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from quantbench import console
from quantbench.cli import main as cli
from quantbench.cli.summary import print_summary
from quantbench.results import files, store
from quantbench.results.recipe import recipe
from quantbench.results.record import Record
from quantbench.run import job as runner
from quantbench.sweep.plan import progress_line
from tests.shared import ROW

SMALL = ("limit=20", "task.calibration_samples=16")
WIDE = replace(
    ROW,
    fp32=100.0,
    quantized=88.25,
    change=-11.75,
    change_low=-12.5,
    change_high=-11.0,
    agreement=90.0,
    calib="percentile",
    calib_options="percentile=99.99",
    fold_bn=True,
    seconds=12.3,
)
STRUCTURE = {
    **dict.fromkeys(("metric", "fp32", "quantized", "change", "change_low", "change_high", "relative_change")),
    **{"cell": "bbbbbbbbbbbb", "model": "resnet18", "task": "synthetic", "samples": 8, "agreement": 87.5},
    **{"sqnr_db": 23.14, "calib": "max", "calib_options": None, "fold_bn": False},
}


def rows(path="quantbench-results/results.csv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


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


def test_a_failed_cell_is_a_row_the_sweep_goes_on_and_retry_tries_it_again(folder, capsys):
    sweep = ("run", "-m", "model=resnet18,resnet20_fashion", "calib=max,mse", *SMALL)
    assert cli.main([*sweep]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("resnet20_fashion") == 2
    assert sorted(row["status"] for row in rows()) == ["failed", "failed", "ok", "ok"]
    lines = captured.err.strip().splitlines()
    assert [line.split(",")[0] for line in lines[:4]] == [
        "1/4  resnet18",
        "2/4  resnet18",
        "3/4  resnet20_fashion",
        "4/4  resnet20_fashion",
    ]
    assert lines[0].endswith("a8 max: failed") and re.search(r"a8 max: 95.00 -> \d+\.00, \d+\.\d s$", lines[2])
    assert len(lines) == 5 and lines[4].startswith("quantbench: resnet18, 2 cells: ")

    failed = [row["started"] for row in rows() if row["status"] == "failed"]
    time.sleep(1.1)
    assert cli.main([*sweep]) == 2
    captured = capsys.readouterr()
    assert "4 of 4 cells were there before" in captured.out and "retry=failed tries it again" in captured.err
    assert [row["started"] for row in rows() if row["status"] == "failed"] == failed
    assert cli.main([*sweep, "retry=failed"]) == 2
    assert "2 of 4 cells were there before" in capsys.readouterr().out
    assert all(row["started"] > max(failed) for row in rows() if row["status"] == "failed")


def test_combinations_that_do_not_go_together_are_left_out_with_their_reason(folder, capsys):
    sweep = ("model=resnet20_fashion,gnmt", "calib=max,percentile", "calib.percentile=99.9", "limit=20")
    assert cli.main(["run", "-m", *sweep]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "left out: no override calib.percentile: only with calib=percentile" in output
    assert "unsupported, because the network is not built yet (cells): gnmt (1)" in output
    assert sorted((row["model"], row["calib"], row["status"]) for row in rows()) == [
        ("gnmt", "percentile", "unsupported"),
        ("resnet20_fashion", "percentile", "ok"),
    ]


def test_an_experiment_takes_a_key_that_only_its_networks_task_has(folder, capsys):
    suite = ("suite=paper", "suite.models='resnet18,mobilenet_v2'", "model.weights=random")
    assert cli.main(["run", "experiment=table4", *suite, "task.path=/nowhere/imagenet"]) == 2
    captured = capsys.readouterr()
    assert {row["model"]: row["status"] for row in rows()} == {"resnet18": "failed", "mobilenet_v2": "failed"}
    assert "/nowhere/imagenet/val: give task.path=FOLDER" in captured.err


def test_options_stand_where_the_user_likes_and_no_measured_cell_is_an_error(folder, capsys):
    assert cli.main(["run", "model=gnmt,transformer", "task.path='/data/my photos'", "-m"]) == 2
    captured = capsys.readouterr()
    assert "unsupported, because the network is not built yet (cells): gnmt (1), transformer (1)" in captured.out
    assert captured.err.splitlines()[0].startswith("1/2  gnmt, w8 per_channel, a8 max: unsupported")
    assert cli.main(["run", "-m", "model=resnet20_fashion,mobilenet_v2_fashion", "task=imagenet_photos"]) == 2
    assert capsys.readouterr().out.count("left out: ") == 2


def test_a_task_of_other_classes_is_refused(folder, capsys):
    assert cli.main(["run", "model=efficientnet_lite0", "task=fashion_mnist"]) == 2
    assert (
        "the network knows the classes of imagenet, the task asks for those of fashion_mnist" in capsys.readouterr().err
    )
    assert rows() == []


def test_bad_values_leave_the_rows_alone(folder, capsys):
    cli.main(["run", *SMALL])
    before = rows()
    capsys.readouterr()
    assert cli.main(["run", "-m", "weight_bits=8,99", *SMALL]) == 2
    assert "weight_bits=99: must be an integer from 2 to 8" in capsys.readouterr().err
    assert rows() == before


def test_force_measures_again_and_never_loses_a_good_row(folder, capsys, monkeypatch):
    cli.main(["run", *SMALL])
    before = rows()
    assert cli.main(["run", "force=true", *SMALL]) == 0
    assert [row["change"] for row in rows()] == [row["change"] for row in before]
    monkeypatch.setitem(runner.BACKENDS, "simulate", lambda *_: 1 / 0)
    assert cli.main(["run", "force=true", *SMALL]) == 2
    assert "measured again in vain: unexpected ZeroDivisionError" in capsys.readouterr().err
    assert [row["status"] for row in rows()] == ["ok"]


def test_a_damaged_record_is_measured_again(folder, capsys):
    cli.main(["run", *SMALL])
    (record,) = (folder / "quantbench-results" / "cells").glob("*.json")
    record.write_text(record.read_text()[:100])
    assert cli.main(["run", *SMALL]) == 0
    assert [row["status"] for row in rows()] == ["ok"]


def test_another_file_of_weights_is_another_cell(folder, capsys):
    from safetensors.torch import save_file

    from quantbench import networks

    for seed in (0, 1):
        config = {"name": "resnet20_fashion", "family": "fashion", "weights": "random", "seed": seed}
        save_file(networks.load(config).module.state_dict(), folder / "mine.safetensors")
        assert cli.main(["run", "model.weights=mine.safetensors", *SMALL]) == 0
    first, second = rows()
    assert first["cell"] != second["cell"] and first["sqnr_db"] != second["sqnr_db"]


@pytest.mark.parametrize("override", ["results_dir=a,b", "results_dir=s/${calib.name}"])
def test_a_sweep_writes_into_one_folder(folder, capsys, override):
    assert cli.main(["run", "-m", override, "calib=max,mse", *SMALL]) == 2
    assert "results_dir must be the same for all jobs" in capsys.readouterr().err


def test_a_full_disk_stops_the_sweep_in_one_line_and_keeps_what_is_finished(folder, capsys, monkeypatch):
    write, written = store.write_record, []

    def full_after_one(results, record):
        if written:
            raise files.Unwritable("x.json: cannot be written (No space left on device); free some space")
        written.append(record)
        write(results, record)

    monkeypatch.setattr(store, "write_record", full_after_one)
    assert cli.main(["run", "-m", "weight_bits=8,7,6", *SMALL]) == 2
    error = capsys.readouterr().err.strip().splitlines()[1:]
    assert error == ["quantbench: x.json: cannot be written (No space left on device); free some space"]
    assert [row["weight_bits"] for row in rows()] == ["8"]


@pytest.mark.parametrize("columns", [40, 60, 80, 119])
def test_a_narrow_terminal_cuts_nothing(folder, capsys, monkeypatch, columns):
    store.write_record(folder, Record(WIDE))
    store.note_in_run(folder, "r", {"cell": WIDE.cell})
    monkeypatch.setattr(console, "width", lambda: columns)
    assert print_summary(folder, "r") == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert all(len(line) <= columns for line in lines[:-1])  # the last names files
    words = " ".join(output.split())
    assert "resnet20_fashion, w8 per_channel, a8 percentile 99.99, bn folded" in words
    assert "fp32 100.00, quantized 88.25, change -11.75 (-12.50 to -11.00), agreement 90.00 %, 12.3 s" in words


@pytest.mark.parametrize("columns", [60, 160])
def test_what_a_task_without_a_metric_gives_is_never_an_accuracy(folder, capsys, monkeypatch, columns):
    run = replace(WIDE, **STRUCTURE)
    for row in (WIDE, run):
        store.write_record(folder, Record(row))
        store.note_in_run(folder, "r", {"cell": row.cell})
    monkeypatch.setattr(console, "width", lambda: columns)
    assert print_summary(folder, "r") == 0
    words = " ".join(capsys.readouterr().out.split())
    said = "resnet18, w8 per_channel, a8 max: agreement 87.50 %, SQNR 23.1 dB on 8 random inputs"
    assert f"{said} (task synthetic: no accuracy), 12.3 s" in words
    assert words.count("resnet18") == 1 and "None" not in words
    assert "top1 on 10,000 labelled samples of fashion_mnist; interval paired" in words
    line = (
        "resnet18, w8 per_channel, a8 max: agreement 87.50 % on 8 random inputs (task synthetic: no accuracy), 12.3 s"
    )
    assert progress_line(replace(run, sqnr_db=None)) == line.replace(" on 8", ", no SQNR on 8")


@pytest.mark.parametrize("columns", [60, 160])
def test_a_metric_of_numbers_has_no_agreement(folder, capsys, monkeypatch, columns):
    row = replace(WIDE, model="minilm_similarity", task="lee_news", metric="pearson", agreement=None)
    store.write_record(folder, Record(row))
    store.note_in_run(folder, "r", {"cell": row.cell})
    monkeypatch.setattr(console, "width", lambda: columns)
    assert print_summary(folder, "r") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "pearson on 10,000 labelled samples of lee_news; interval paired over samples rows" in words
    assert "100.00" in words and words.count("%") == words.count("95 %")


def test_what_several_combinations_have_in_common_is_said_once(folder, capsys):
    store.write_record(folder, Record(WIDE))
    for entry in (*[{"dropped": "this"}] * 2, {"cell": WIDE.cell}, *[{"invalid": "that"}] * 2):
        store.note_in_run(folder, "r", entry)
    assert print_summary(folder, "r") == 2
    captured = capsys.readouterr()
    assert captured.out.count("left out: this") == 1 and captured.err == "quantbench: that\n"


def test_a_recipe_names_all_that_differs_from_the_default():
    assert recipe(replace(WIDE, calib="max", calib_options=None, fold_bn=False)) == "w8 per_channel, a8 max"
    other = replace(WIDE, activation_bits=None, mapping="affine", skip_layers="conv1 fc", seed=2, fold_bn=False)
    assert recipe(other) == "w8 per_channel, activations float, affine, without conv1 fc, seed 2"
    more = replace(ROW, calib="max", calib_options=None, fold_bn=False, residual_adds=True, gelu_bound=10.0)
    assert recipe(more) == "w8 per_channel, a8 max, residual adds, GELU10"
    assert recipe(replace(more, residual_adds=False, gelu_bound=0.5)) == "w8 per_channel, a8 max, GELU0.5"


def test_no_progress_bar_without_a_terminal_and_one_with_it(folder):
    command = f"{sys.executable} -m quantbench run {' '.join(SMALL)} force=true"
    plain = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert plain.stderr == ""
    shown = subprocess.run(
        ["script", "-qec", f"QUANTBENCH_CACHE= {command} seed=3", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"(fp32|calibration|quantized).*\d+/\d+", shown.stdout)
    assert os.listdir() == ["quantbench-results"]
