"""The table that ends a run, from records."""

from dataclasses import replace

import pytest
import yaml

from quantbench.cli.summary import print_summary
from quantbench.results import store
from quantbench.results.recipe import CALIBRATION_SAMPLES, recipe
from quantbench.results.record import Record
from quantbench.run.job import progress_line
from quantbench.sweep.groups import conf_folder
from tests.shared import ROW

WIDE = replace(
    ROW, fp32=100.0, quantized=88.25, change=-11.75, change_low=-12.5, change_high=-11.0, calib="entropy", fold_bn=True
)
STRUCTURE = {
    **dict.fromkeys(("metric", "fp32", "quantized", "change", "change_low", "change_high", "relative_change")),
    **{
        "cell": "bbbbbbbbbbbb",
        "model": "resnet18",
        "task": "synthetic",
        "samples": 8,
        "sqnr_db": 23.14,
        "calibration_samples": 8,
    },
    **{"calib": "max", "fold_bn": False},
}


@pytest.fixture
def summary(tmp_path, capsys):
    """The exit code and what is printed of a run with these rows and further entries, words apart by one blank."""

    def printed(*rows, entries=(), **options):
        for row in rows:
            store.write_record(tmp_path, Record(row))
        for entry in (*({"cell": row.cell} for row in rows), *entries):
            store.note_in_run(tmp_path, "r", entry)
        code = print_summary(tmp_path, "r", **options)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return printed


@pytest.mark.parametrize("count", [20, 40, 80, 120])
def test_a_narrow_terminal_cuts_nothing(summary, columns, count):
    columns(count)
    code, output, _ = summary(WIDE)
    lines = output.splitlines()
    assert code == 0 and all(len(line) <= count or len(line.split()) == 1 for line in lines)
    words = " ".join(output.split())
    assert "w8 per_channel, a8 entropy, bn folded" in words or count == 120
    for number in ("100.00", "88.25", "-11.75", "-12.50 to -11.00", "95.00 %"):
        assert number in words
    assert "top1 on 10,000 labelled samples of fashion_mnist; interval paired" in words


def test_what_a_task_without_a_metric_gives_is_never_an_accuracy(summary):
    run = replace(WIDE, **STRUCTURE)
    _, output, _ = summary(WIDE, run)
    said = "resnet18, w8 per_channel, a8 max: agreement 95.00 %, SQNR 23.1 dB on 8 random inputs"
    assert f"{said} (task synthetic: no accuracy), 1.0 s\n" in output
    assert output.count("resnet18") == 1 and "None" not in output
    line = "resnet18, w8 per_channel, a8 max: agreement 95.00 % on 8 random inputs (task synthetic: no accuracy), 1.0 s"
    assert progress_line(replace(run, sqnr_db=None)) == line.replace(" on 8", ", no SQNR on 8")


def test_a_metric_of_numbers_has_no_agreement(summary):
    _, output, _ = summary(replace(WIDE, task="lee_news", metric="pearson", agreement=None))
    assert "pearson on 10,000 labelled samples of lee_news; interval paired over samples\n" in output
    assert output.count("%") == output.count("95 %")


def test_what_several_combinations_have_in_common_is_said_once(summary):
    entries = (*[{"dropped": "this"}] * 2, *[{"invalid": "that"}] * 2, {"cell": ROW.cell, "found": True})
    code, output, errors = summary(ROW, entries=entries)
    assert code == 2
    assert output.count("left out: this") == 1 and errors == "quantbench: that\n"


def test_failures_of_a_network_that_are_alike_are_one_line_and_a_defect_has_its_own_exit_code(summary):
    failed = [replace(ROW, cell=f"{i}" * 12, status="failed", error="no data", weight_bits=8 - i) for i in range(2)]
    assert summary(*failed)[::2] == (2, "quantbench: resnet20_fashion, 2 cells: no data\n")
    code, _, errors = summary(replace(ROW, status="error", error="unexpected"))
    assert code == 1 and "w8 per_channel, a8 max: unexpected" in errors and "please report it" in errors


def test_networks_that_are_not_built_are_counted_and_nothing_else_is_an_error(summary):
    code, output, _ = summary(replace(ROW, model="gnmt", status="unsupported", error="gnmt is not built yet"))
    assert code == 2
    assert "unsupported, because the network is not built yet (cells): gnmt (1)\n" in output


def test_a_run_without_cells(summary):
    assert summary()[0] == 1 and summary(broken_off=True)[2] == ""


def test_a_recipe_names_all_that_differs_from_the_default():
    assert recipe(ROW) == "w8 per_channel, a8 max"
    other = replace(ROW, activation_bits=None, mapping="affine", skip_layers="conv1 fc", seed=2)
    assert recipe(other) == "w8 per_channel, activations float, affine, without conv1 fc, seed 2"
    more = replace(ROW, residual_adds=True, gelu_bound=10.0, fold_bn=True)
    assert recipe(more) == "w8 per_channel, a8 max, bn folded, residual adds, GELU10"
    assert recipe(replace(ROW, gelu_bound=0.5)) == "w8 per_channel, a8 max, GELU0.5"
    own = replace(ROW, method="mine", backend="theirs", backend_options="threads=2", calibration_samples=64)
    assert recipe(own) == "w8 per_channel, a8 max, mine, theirs threads=2, 64 calibration samples"
    own = replace(ROW, calibration_samples=64, task_options="calibration_samples=64")
    assert recipe(own) == "w8 per_channel, a8 max, calibration_samples=64"
    assert recipe(replace(ROW, calibration_samples=0, activation_bits=None)) == "w8 per_channel, activations float"


def test_the_usual_numbers_of_calibration_samples_are_those_of_the_choices():
    usual = {}
    for file in (conf_folder() / "task").glob("*.yaml"):
        choice = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "calibration_samples" in choice:
            usual.setdefault(choice["name"], set()).add(choice["calibration_samples"])
    assert {name: set(numbers) for name, numbers in CALIBRATION_SAMPLES.items()} == usual
