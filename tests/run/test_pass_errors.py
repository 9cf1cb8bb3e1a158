"""A network that raises in the middle of a pass: the record says where, and nothing else suffers."""

import csv
import json

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from tests import faulty

FIGURES = ("fp32", "quantized", "change", "agreement", "sqnr_db", "status")


def rows(results="quantbench-results"):
    with open(f"{results}/results.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def raises_in(kind, number=3, error=None):
    """What raises before the batch of that number in a pass; once."""
    seen = []

    def before(found, _):
        seen.append(found)
        if found == kind and seen.count(kind) == number and len(seen) < 50:
            seen.extend(["done"] * 50)
            raise error or ArithmeticError("the gears\njammed")

    return staticmethod(before)


WHERE = {
    "fp32": "fp32, batch 3 of 5, which begins with test/8",
    "calibration": "calibration, batch 3 of 3, which begins with train/8",
    "quantized": "quantized, batch 3 of 5, which begins with test/8",
}


@pytest.mark.parametrize("kind", WHERE)
def test_the_record_names_pass_batch_and_sample_and_nothing_stays_behind(run, capsys, monkeypatch, kind):
    monkeypatch.setattr(faulty.Settings, "before", raises_in(kind))
    assert run() == 1
    said = f"{WHERE[kind]}: unexpected ArithmeticError: the gears jammed"
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == f"quantbench: faulty, w8 per_channel, a8 max: {said}"
    assert "Traceback" not in captured.err
    (broken,) = rows()
    assert (broken["status"], broken["error"]) == ("error", said)
    with open(f"quantbench-results/cells/{broken['cell']}.json", encoding="utf-8") as file:
        assert "ArithmeticError" in json.load(file)["traceback"]

    assert _get_current_function_mode_stack() == [] and _get_current_dispatch_mode_stack() == []
    for child in faulty.Settings.module.modules():
        assert not child._forward_hooks and not child._forward_pre_hooks
    assert torch.backends.mha.get_fastpath_enabled() and not torch.is_inference_mode_enabled()


def test_the_sweep_goes_on_and_later_cells_have_the_figures_of_a_fresh_process(run, capsys, monkeypatch, folder):
    with monkeypatch.context() as patch:
        patch.setattr(faulty.Settings, "before", raises_in("quantized"))
        assert run("-m", "weight_bits=8,7") == 1
    assert [row["status"] for row in sorted(rows(), key=lambda row: row["weight_bits"])] == ["ok", "error"]
    assert run("retry=failed") == 0
    monkeypatch.setattr("quantbench.run.cache.cache_folder", lambda: folder / "another")
    faulty.reference.forget()
    assert run("-m", "weight_bits=8,7", "results_dir=fresh") == 0
    key = ("weight_bits", *FIGURES)
    assert {tuple(row[k] for k in key) for row in rows()} == {tuple(row[k] for k in key) for row in rows("fresh")}


def test_a_sample_that_cannot_be_prepared_is_named(run, capsys, monkeypatch):
    def picky(raw):
        if raw[0] == spoiled[0]:
            raise KeyError("no such thing")
        return [(torch.from_numpy(raw),)]

    spoiled = faulty.load_task(calibration_samples=12).evaluation[9].read()
    monkeypatch.setattr(faulty, "preprocess", picky)
    assert run() == 1
    said = "fp32, batch 3 of 5, which begins with test/8: sample test/9 cannot be prepared: unexpected KeyError"
    assert said in capsys.readouterr().err


def test_outputs_that_are_not_one_an_input_are_refused(run, capsys, monkeypatch):
    monkeypatch.setattr(faulty.Faulty, "forward", lambda self, x: self.first(x).mean(0))
    assert run() == 1
    said = "fp32, batch 1 of 5, which begins with test/0: unexpected ValueError: outputs of shape (16,) for 4 inputs"
    assert said in capsys.readouterr().err


def test_nan_at_a_site_names_the_batch_too(run, capsys, monkeypatch):
    def before(kind, batch):
        if kind == "calibration":
            batch[1] = float("nan")

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    assert run() == 2
    error = capsys.readouterr().err
    assert "site first.input: 8 NaN and 0 infinite of 32 values (calibration, batch 1 of 3, which begins with" in error
