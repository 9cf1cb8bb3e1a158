"""Which jobs a sweep needs."""

from dataclasses import replace

import pytest
import yaml

from quantbench.errors import Mismatch, UserError
from quantbench.results import store
from quantbench.results.maker import maker_id
from quantbench.results.record import Record, Row
from quantbench.sweep.cell import cell_from_settings
from quantbench.sweep.plan import plan

NETWORKS = ("resnet20_fashion", "mobilenet_v2_fashion")
MODELS = {name: {"name": name, "family": "fashion", "weights": "shipped"} for name in NETWORKS}


@pytest.fixture
def compose(settings, tmp_path):
    """Settings of overrides such as `weight_bits=4`, without Hydra."""
    default = replace(settings(), results_dir=str(tmp_path))

    def composed(overrides):
        changed = {key: yaml.safe_load(value) for key, value in (override.split("=") for override in overrides)}
        groups = {
            key: MODELS.get(v, {"name": v}) for key, v in changed.items() if isinstance(getattr(default, key), dict)
        }
        return replace(default, **{**changed, **groups})

    return composed


def planned(combinations, compose, folder):
    return plan(combinations, compose, folder, False)


def test_cells_of_one_network_come_together_in_the_order_of_the_first(compose, tmp_path):
    a, b = "model=resnet20_fashion", "model=mobilenet_v2_fashion"
    combinations = [["calib=max", a], ["calib=max", b], ["calib=mse", a], ["calib=mse", b], ["calib=max", a, "seed=1"]]
    assert planned(combinations, compose, tmp_path).jobs == [
        ["calib=max", a],
        ["calib=mse", a],
        ["calib=max", b],
        ["calib=mse", b],
        ["calib=max", a, "seed=1"],
    ]


def test_the_same_cell_is_run_once(compose, tmp_path):
    weights_only = [["activations=false", f"calib={calib}"] for calib in ("max", "entropy", "mse")]
    assert planned(weights_only, compose, tmp_path).jobs == [["activations=false", "calib=max"]]


def test_what_does_not_go_together_is_left_out_and_a_bad_value_is_an_error(compose, tmp_path):
    def picky(overrides):
        if "calib=percentile" in overrides:
            raise Mismatch("no override calib.percentile")
        return compose(overrides) if "weight_bits=99" not in overrides else replace(compose([]), device="cuda")

    found = planned([["calib=percentile"], ["weight_bits=8"], ["weight_bits=99"]], picky, tmp_path)
    assert found.jobs == [["weight_bits=8"]]
    assert [list(entry) for entry in found.entries] == [["dropped"], ["invalid"]]


def test_a_name_that_there_is_not_stops_the_sweep_before_anything_runs(compose, tmp_path):
    def unknown(overrides):
        raise UserError("no calib entrpy")

    with pytest.raises(UserError):
        planned([[], ["calib=entrpy"]], unknown, tmp_path)


@pytest.mark.parametrize("status", ["ok", "failed", "error", "unsupported"])
def test_a_recorded_cell_needs_no_job_but_on_request(compose, tmp_path, status):
    cell = cell_from_settings(compose([]), False).hash
    row = Row(cell, "desk", "resnet20_fashion", "fashion_mnist", status=status, maker=maker_id("cpu"))
    store.write_record(tmp_path, Record(row))
    failed = status in ("failed", "error")
    found = planned([[]], compose, tmp_path)
    assert found.jobs == []
    assert found.entries == [{"cell": cell, "found": True} | ({"failed": True} if failed else {})]
    assert planned([["force=true"]], compose, tmp_path).jobs == [["force=true"]]
    assert planned([["retry=failed"]], compose, tmp_path).jobs == ([["retry=failed"]] if failed else [])


@pytest.mark.parametrize("maker", [None, "another"])
@pytest.mark.parametrize("status", ["ok", "unsupported"])
def test_a_finished_cell_of_another_maker_is_measured_again_unless_any_will_do(compose, tmp_path, maker, status):
    cell = cell_from_settings(compose([]), False).hash
    row = Row(cell, "desk", "resnet20_fashion", "fashion_mnist", status=status, maker=maker)
    store.write_record(tmp_path, Record(row))
    assert planned([[]], compose, tmp_path).jobs == [[]]
    found = planned([["reuse=any"]], compose, tmp_path)
    assert (found.jobs, found.entries) == ([], [{"cell": cell, "found": True, "other": True}])


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("quantbench.results.maker.code_version", lambda: "0" * 12),
        ("quantbench.results.maker.isa", lambda: "avx"),
        ("quantbench.results.maker.device_name", lambda device: "another"),
        ("quantbench.results.maker.version_of", lambda package: "0.1"),
        ("torch.__version__", "0.1"),
    ],
)
def test_what_makes_another_maker(compose, tmp_path, monkeypatch, what, other):
    cell = cell_from_settings(compose([]), False).hash
    row = Row(cell, "desk", "resnet20_fashion", "fashion_mnist", maker=maker_id("cpu"))
    store.write_record(tmp_path, Record(row))
    assert planned([[]], compose, tmp_path).jobs == []
    monkeypatch.setattr(what, other)
    assert planned([[]], compose, tmp_path).jobs == [[]]


def test_all_cells_of_a_sweep_go_into_one_folder(compose, tmp_path):
    found = planned([[]], compose, tmp_path / "other")
    assert (found.jobs, [list(entry) for entry in found.entries]) == ([], [["invalid"]])


def test_a_damaged_record_needs_a_job(compose, tmp_path):
    path = store.record_path(tmp_path, cell_from_settings(compose([]), False).hash)
    path.parent.mkdir()
    path.write_text("{")
    assert planned([[]], compose, tmp_path).jobs == [[]]
