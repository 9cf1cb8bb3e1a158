from pathlib import Path

import pytest

from quantbench.errors import Mismatch, UserError
from quantbench.results import store
from quantbench.results.record import Record, Row
from quantbench.sweep.cell import cell_from_config
from quantbench.sweep.plan import plan


@pytest.fixture
def compose(settings, tmp_path):
    def composed(overrides):
        return settings(*overrides, f"results_dir={tmp_path}")

    return composed


def jobs(combinations, compose):
    return planned(combinations, compose).jobs


def planned(combinations, compose):
    return plan(combinations, compose, Path(compose([])["results_dir"]), False)


def test_cells_of_one_network_come_together_in_the_order_of_the_first(compose):
    a, b = "model=resnet20_fashion", "model=mobilenet_v2_fashion"
    combinations = [["calib=max", a], ["calib=max", b], ["calib=mse", a], ["calib=mse", b], ["calib=max", a, "seed=1"]]
    assert jobs(combinations, compose) == [
        ["calib=max", a],
        ["calib=mse", a],
        ["calib=max", b],
        ["calib=mse", b],
        ["calib=max", a, "seed=1"],
    ]


def test_the_same_cell_is_run_once(compose):
    weights_only = [["activations=false", f"calib={calib}"] for calib in ("max", "entropy", "mse")]
    assert jobs(weights_only, compose) == [["activations=false", "calib=max"]]


def test_what_does_not_go_together_is_dropped_and_a_bad_value_is_an_error(compose):
    def picky(overrides):
        if "calib.percentile=99.9" in overrides:
            raise Mismatch("no override calib.percentile: only with calib=percentile")
        return compose(overrides)

    found = planned([["calib.percentile=99.9"], ["weight_bits=8"], ["weight_bits=99"]], picky)
    assert found.jobs == [["weight_bits=8"]]
    assert found.entries == [
        {"dropped": "no override calib.percentile: only with calib=percentile"},
        {"invalid": "weight_bits=99: must be an integer from 2 to 8"},
    ]


@pytest.mark.parametrize("status", ["ok", "failed", "error", "unsupported"])
def test_a_recorded_cell_needs_no_job_but_on_request(compose, tmp_path, status):
    cell = cell_from_config(compose([]), False).hash
    store.write_record(tmp_path, Record(Row(cell, "desk", "resnet20_fashion", "fashion_mnist", status=status)))
    failed = status in ("failed", "error")
    found = planned([[]], compose)
    assert found.jobs == []
    assert found.entries == [{"cell": cell, "found": True} | ({"failed": True} if failed else {})]
    assert jobs([["force=true"]], compose) == [["force=true"]]
    assert jobs([["retry=failed"]], compose) == ([["retry=failed"]] if failed else [])


def test_all_cells_of_a_sweep_go_into_one_folder(compose, tmp_path):
    found = plan([[]], compose, tmp_path / "other", False)
    assert found.jobs == []
    assert found.entries == [
        {"invalid": f"results_dir={tmp_path}: must be the same for all cells of a sweep, {tmp_path}/other"}
    ]


def test_a_damaged_record_needs_a_job(compose, tmp_path):
    path = store.record_path(tmp_path, cell_from_config(compose([]), False).hash)
    path.parent.mkdir()
    path.write_text("{")
    assert jobs([[]], compose) == [[]]


@pytest.mark.parametrize("override", ["retry=always", "threads=0", "threads=two", "force=7"])
def test_bad_settings_are_named(settings, override):
    with pytest.raises(UserError, match=f"{override}: must be"):
        cell_from_config(settings(override), False)
