"""End to end on real networks and real photos."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch

from quantbench import networks, tasks
from quantbench.backends import simulate as simulate_backend
from quantbench.errors import Halt
from quantbench.results import store
from quantbench.results.stats import paired_change
from quantbench.run import cache, job, reference
from quantbench.run import measure as runner
from quantbench.sweep.cell import cell_from_settings

SMALL = ("limit=300", "task.calibration_samples=64")
MEASURED_ANEW = {"started", "seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb"}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """Nothing that an earlier run kept: the assets are shared, fp32 outputs and histograms are not."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "cache_folder", lambda: folder)
        reference.forget()
        yield
        reference.forget()


@pytest.fixture
def measure(settings):
    return lambda *overrides: runner.measure(cell_from_settings(settings(*overrides), False))


def test_a_row_can_be_computed_by_hand_from_the_samples(measure):
    record = measure("model=mobilenet_v2_fashion", "calib=entropy", "granularity=per_tensor", "fold_bn=true", *SMALL)
    row, samples = record.row, record.samples
    assert (row.status, row.error) == ("ok", None)
    assert (row.samples, len(samples)) == (300, 300)
    for side in ("fp32", "quantized"):
        right = samples[f"{side}_prediction"] == samples.target
        assert (samples[side] == 100.0 * right).all()
        assert getattr(row, side) == pytest.approx(100 * right.mean())
    assert row.change == pytest.approx(row.quantized - row.fp32)
    assert row.relative_change == pytest.approx(row.change / row.fp32)
    interval = paired_change(samples.fp32.to_numpy(), samples.quantized.to_numpy())
    assert (row.change_low, row.change_high) == (interval.low, interval.high)
    assert row.agreement == pytest.approx(100 * (samples.fp32_prediction == samples.quantized_prediction).mean())
    assert row.sqnr_db == pytest.approx(10 * np.log10(samples.signal.sum() / samples.noise.sum()))
    assert (row.calib, row.granularity, row.fold_bn) == ("entropy", "per_tensor", True)
    assert (row.layers, row.layers_quantized, row.calibration_samples) == (53, 53, 64)


def test_the_record_tells_where_the_row_came_from(measure):
    details = measure("calib=percentile", "skip_layers=[conv1,fc]", *SMALL).details
    assert len(details["calibration_ids"]) == 64
    assert all(sample.startswith("train/") for sample in details["calibration_ids"])
    assert details["layers_float"] == ["conv1", "fc"]
    assert "conv1.input" not in details["ranges"]
    assert len(details["ranges"]["layer1.0.conv1.input"]["high"]) == 1
    assert len(details["ranges"]["layer2.0.conv1.weight"]["high"]) == 32
    assert details["network"]["weights"].startswith("sha256:")
    assert details["versions"]["torch"] == torch.__version__.split("+")[0]
    assert json.loads(json.dumps(details))["config"]["calib"] == {"name": "percentile", "percentile": 99.99}


def test_the_same_seed_and_batch_size_give_identical_records(measure):
    shutil.rmtree(cache.cache_folder())
    reference.forget()
    first = measure(*SMALL)
    reference.forget()
    shutil.rmtree(cache.cache_folder())  # else the float passes would be recalled, not repeated
    second = measure(*SMALL)
    left, right = asdict(first.row), asdict(second.row)
    assert {k: v for k, v in left.items() if k not in MEASURED_ANEW} == {
        k: v for k, v in right.items() if k not in MEASURED_ANEW
    }
    pd.testing.assert_frame_equal(first.samples, second.samples)
    assert first.details.pop("passes") == {"fp32": 1, "calibration": 1, "quantized": 1}
    assert second.details.pop("passes") == {"fp32": 1, "calibration": 1, "quantized": 1}
    assert first.details == second.details


def test_a_table_costs_no_more_float_passes_than_it_needs(measure):
    shutil.rmtree(cache.cache_folder())
    reference.forget()
    percentiles = [f"calib=percentile_{name}" for name in ("99_9", "99_99", "99_999", "99_9999")]
    table5 = [measure(calib, *SMALL).details["passes"] for calib in ("calib=max", "calib=entropy", *percentiles)]
    assert {kind: sum(passes[kind] for passes in table5) for kind in table5[0]} == {
        "fp32": 1,
        "calibration": 1,
        "quantized": 6,
    }
    shutil.rmtree(cache.cache_folder())
    reference.forget()
    weights = [("granularity=per_channel", "fold_bn=true"), ("granularity=per_tensor", "fold_bn=false")]
    table3 = [measure("activations=false", *scheme, *SMALL).details["passes"] for scheme in weights]
    assert table3 == [
        {"fp32": 1, "calibration": 0, "quantized": 1},
        {"fp32": 0, "calibration": 0, "quantized": 1},
    ]


def test_a_record_has_the_signal_to_noise_of_every_quantized_site(measure):
    record = measure("calib=max", "skip_layers=[fc]", *SMALL)
    sites = record.details["site_sqnr_db"]
    assert set(sites) == set(record.details["ranges"])
    assert list(sites)[:2] == ["conv1.input", "conv1.weight"] and "fc.input" not in sites
    assert all(25 < value < 60 for value in sites.values())
    assert set(record.histograms) >= {site for site in sites if site.endswith(".input")}
    assert record.details["histograms"] and measure("activations=false", *SMALL).details["histograms"] is None


def test_residual_adds_are_layers_more_and_cost_accuracy(measure):
    plain, more = measure("calib=max", *SMALL), measure("calib=max", "residual_adds=true", *SMALL)
    assert (plain.row.layers, more.row.layers, more.row.layers_quantized) == (22, 31, 31)
    assert (plain.row.residual_adds, more.row.residual_adds) == (False, True)
    added = {f"layer{i}.{j}.add_0.{side}" for i in (1, 2, 3) for j in range(3) for side in ("lhs", "rhs")}
    for part in ("ranges", "site_sqnr_db"):
        assert set(more.details[part]) - set(plain.details[part]) == added
    assert set(more.histograms) - set(plain.histograms) == added
    assert more.details["histograms"] != plain.details["histograms"]
    assert more.row.sqnr_db < plain.row.sqnr_db
    left_out = measure("calib=max", "residual_adds=true", "skip_layers=['*.add_*']", *SMALL)
    pd.testing.assert_frame_equal(left_out.samples, plain.samples)


def test_what_decides_the_sites_is_in_the_key_of_the_histograms(settings):
    loaded = reference.load_reference(cell_from_settings(settings(*SMALL), False))
    sites = [(False, False, None), (True, False, None), (False, True, None), (False, False, 10.0)]
    assert len({reference.histograms_key(loaded, *chosen) for chosen in sites}) == 4


def test_gelu_is_clipped_in_calibration_and_in_the_quantized_run_but_not_in_fp32(measure, monkeypatch):
    load = networks.load

    def with_gelu(config):
        torch.manual_seed(0)
        network = load(config)
        module = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.GELU(), torch.nn.Linear(16, 10)
        )
        return replace(network, module=module.eval())

    monkeypatch.setattr(networks, "load", with_gelu)
    monkeypatch.setattr(reference, "recall", lambda kind, key, names, make: (make(), False))
    reference.forget()
    plain, bound = measure("calib=max", *SMALL), measure("calib=max", "gelu_bound=0.125", *SMALL)
    reference.forget()
    assert (plain.row.gelu_bound, bound.row.gelu_bound) == (None, 0.125)
    assert plain.row.fp32 == bound.row.fp32 and (plain.samples.signal == bound.samples.signal).all()
    assert plain.details["ranges"]["3.input"]["high"][0] > 0.2
    assert bound.details["ranges"]["3.input"]["high"][0] <= 0.17 and bound.histograms["3.input"].high == 0.125
    assert bound.row.sqnr_db < plain.row.sqnr_db - 10


def test_a_bound_for_a_network_without_gelu_is_a_failed_record(measure):
    record = measure("gelu_bound=10", *SMALL)
    assert record.row.status == "failed"
    assert record.row.error.startswith("gelu_bound=10: the network runs no GELU")


def test_float_passes_are_kept_for_other_schemes_and_later_processes(measure):
    measure("calib=max", *SMALL, "seed=7")
    reference.forget()
    record = measure("calib=entropy", "weight_bits=4", *SMALL, "seed=7")
    assert record.details["passes"] == {"fp32": 0, "calibration": 0, "quantized": 1}
    for damaged in cache.cache_folder().rglob("*.safetensors"):
        content = bytearray(damaged.read_bytes())
        half = len(content) // 2
        content[half : half + 64] = bytes(255 - byte for byte in content[half : half + 64])
        damaged.write_bytes(content)
    reference.forget()
    again = measure("calib=entropy", "weight_bits=4", *SMALL, "seed=7")
    assert again.details["passes"] == {"fp32": 1, "calibration": 1, "quantized": 1}
    pd.testing.assert_frame_equal(again.samples, record.samples)


def test_weights_only_needs_no_calibration(measure, monkeypatch):
    monkeypatch.setattr(reference, "collect", lambda *_: pytest.fail("a calibration pass ran"))
    row = measure("activations=false", "weight_bits=3", *SMALL).row
    assert (row.calib, row.activation_bits, row.calibration_samples) == (None, None, 0)
    assert row.sqnr_db < 25


def test_fewer_bits_cost_more(measure):
    noise = [measure(f"weight_bits={b}", f"activation_bits={b}", *SMALL).row.sqnr_db for b in (8, 6, 4, 2)]
    assert noise == sorted(noise, reverse=True)
    assert noise[0] > 20 and noise[-1] < 5


def test_bad_activations_fail_the_cell_and_name_the_site(measure, monkeypatch):
    load = networks.load

    def broken(config):
        network = load(config)
        with torch.no_grad():
            network.module.layer1[0].bn1.weight[0] = float("nan")
        return replace(network, weights="broken")

    monkeypatch.setattr(networks, "load", broken)
    reference.forget()
    record = measure("limit=20", "task.calibration_samples=8")
    reference.forget()
    assert record.row.status == "failed"
    assert record.row.error.startswith("fp32: the output is NaN or infinite for 20 of 20 samples, first for test/00000")
    assert "it comes up at site layer1.0.conv2.input: 784 NaN" in record.row.error


def test_a_site_with_nan_in_calibration_only_is_named(measure, monkeypatch):
    load = tasks.load

    def broken(config):
        task = load(config)
        first = task.calibration[0]
        poisoned = replace(first, id="poisoned", read=lambda: np.full((28, 28, 1), np.nan, np.float32))
        return replace(task, calibration=[poisoned, *task.calibration[1:]])

    monkeypatch.setattr(tasks, "load", broken)
    reference.forget()
    record = measure("limit=20", "task.calibration_samples=8")
    reference.forget()
    assert record.row.status == "failed"
    assert record.row.error.startswith("site conv1.input: 784 NaN and 0 infinite of")


def test_an_unexpected_error_is_a_record_with_its_traceback(measure, monkeypatch):
    monkeypatch.setattr(simulate_backend, "open", lambda *_: 1 / 0)
    record = measure(*SMALL)
    assert (record.row.status, record.row.error) == ("error", "unexpected ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in record.details["traceback"]


def test_a_job_stores_its_record_once(tmp_path, monkeypatch):
    from quantbench.sweep.compose import compose_one

    monkeypatch.setenv("QUANTBENCH_RUN", "test")
    config = compose_one([*SMALL, f"results_dir={tmp_path}"], "a test")
    first = job.run_job(config)
    monkeypatch.setattr(job, "measure", lambda *_: pytest.fail("measured again"))
    assert job.run_job(config) == first == store.read_rows(tmp_path)[0][0].quantized  # for sweepers that optimize
    config.weight_bits = 99
    with pytest.raises(Halt):
        job.run_job(config)
    (cell,) = [path.stem for path in tmp_path.glob("cells/*.json")]
    assert store.read_run(tmp_path, "test") == [{"cell": cell}, {"cell": cell, "found": True}]
    assert store.read_row(tmp_path, cell).status == "ok"


def test_a_limit_is_spread_evenly():
    assert reference._subset(range(10), 5) == [0, 2, 4, 6, 8]
    assert reference._subset(range(10), None) == range(10)
    assert reference._subset(range(3), 7) == range(3)
