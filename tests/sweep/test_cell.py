"""A cell's key: what decides its figures is in it, what does not is not; values of the wrong kind are refused."""

from dataclasses import replace

import pytest

from quantbench.errors import Mismatch, UserError
from quantbench.sweep.cell import calibrator, cell_from_settings
from quantbench.sweep.settings import Settings


@pytest.fixture
def cell(settings):
    """The cell of some settings, which are those of the defaults but for what is given."""
    default: Settings = settings()

    def made(**changed):
        return cell_from_settings(replace(default, **changed), False)

    return made


def test_equal_settings_have_equal_hashes_and_others_have_not(cell):
    task = {"name": "fashion_mnist", "calibration_samples": 16}
    variants = [
        {},
        {"model": {"name": "mobilenet_v2_fashion", "family": "fashion", "weights": "shipped"}},
        {"model": {"name": "resnet20_fashion", "family": "fashion", "weights": "random"}},
        {"task": task},
        {"calib": {"name": "entropy"}},
        {"calib": {"name": "percentile", "percentile": 99.9}},
        {"calib": {"name": "percentile", "percentile": 99.99}},
        {"granularity": {"name": "per_tensor"}},
        {"weight_bits": 4},
        {"activation_bits": 4},
        {"activations": False},
        {"mapping": "affine"},
        {"fold_bn": True},
        {"skip_layers": ["conv1"]},
        {"residual_adds": True},
        {"gelu_bound": 10.0},
        {"gelu_bound": 10.5},
        {"seed": 1},
        {"limit": 10},
        {"batch_size": 8},
    ]
    hashes = [cell(**changed).hash for changed in variants]
    assert len(set(hashes)) == len(variants)
    assert hashes == [cell(**changed).hash for changed in variants]


def test_what_does_not_matter_does_not_change_the_hash(cell):
    default = cell().hash
    assert cell(results_dir="elsewhere", force=True, threads=1).hash == default
    assert cell(device="cpu").hash == default
    assert cell(skip_layers=["b", "a"]).hash == cell(skip_layers=["a", "b", "a"]).hash
    percentiles = [cell(calib={"name": "percentile", "percentile": value}).hash for value in (100, 100.0)]
    assert percentiles[0] == percentiles[1]
    # Weights only: no calibrator has anything to decide.
    weights_only = cell(activations=False)
    assert weights_only.hash == cell(activations=False, calib={"name": "entropy"}).hash
    assert (weights_only.calib, weights_only.activation_bits) == (None, None)
    assert weights_only == cell(activations=False, residual_adds=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"calib": {"name": "nothing"}},
        {"calib": {"name": "max", "epochs": 3}},
        {"calib": {"name": "percentile", "percentile": 0}},
        {"calib": {"name": "percentile", "percentile": 100.1}},
        {"calib": {"name": "percentile", "percentile": "high"}},
        {"calib": {"name": "mine", "_target_": "nowhere.at_all"}},
        {"method": {"name": "ptq", "epochs": 3}},
        {"method": {"name": "nothing"}},
        {"backend": {"name": "simulate", "threads": 2}},
        {"granularity": {"name": "per_row"}},
        {"granularity": {"name": "per_channel", "axis": 1}},
        {"task": {"name": "fashion_mnist", "calibration_samples": 0}},
        {"device": "cuda"},
    ],
)
def test_a_choice_or_option_that_there_is_not_is_refused(cell, changed):
    with pytest.raises(UserError):
        cell(**changed)


def test_an_unknown_option_is_named_with_those_that_there_are(cell):
    message = "calib=percentile: got an unexpected keyword argument 'share'; its options are percentile"
    with pytest.raises(UserError, match=message):
        cell(calib={"name": "percentile", "share": 0.9})


def test_classes_that_are_not_the_networks_do_not_go_together(cell):
    with pytest.raises(Mismatch):
        cell(task={"name": "imagenet", "labels": "imagenet"})


def test_the_calibrator_has_its_options(cell):
    import numpy as np

    from quantbench.quant.histogram import equal_bins

    histogram = equal_bins(np.array([90, 9, 1]), 1.0, 0.0, 3.0)
    found = {
        share: calibrator(cell(calib={"name": "percentile", "percentile": share}).calib)(histogram, 8)
        for share in (50, 95, 100)
    }
    assert found[50] < found[95] < found[100]
    assert calibrator(None)(histogram, 8) == 3.0
