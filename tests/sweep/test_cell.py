from dataclasses import replace

import pytest

from quantbench.errors import UserError
from quantbench.sweep.cell import Cell, cell_from_config


def test_equal_configs_have_equal_hashes_and_others_have_not(settings):
    variants = [
        [],
        ["model=mobilenet_v2_fashion"],
        ["calib=entropy"],
        ["calib=percentile", "calib.percentile=99.9"],
        ["calib=percentile", "calib.percentile=99.99"],
        ["granularity=per_tensor"],
        ["weight_bits=4"],
        ["activation_bits=4"],
        ["activations=false"],
        ["mapping=affine"],
        ["fold_bn=true"],
        ["skip_layers=[conv1]"],
        ["residual_adds=true"],
        ["gelu_bound=10"],
        ["gelu_bound=10.5"],
        ["activations=false", "gelu_bound=10"],
        ["limit=100"],
        ["batch_size=8"],
        ["seed=1"],
        ["task.calibration_samples=16"],
    ]
    hashes = [cell_from_config(settings(*overrides), False).hash for overrides in variants]
    assert len(set(hashes)) == len(variants)
    assert hashes == [cell_from_config(settings(*overrides), False).hash for overrides in variants]


def test_what_does_not_matter_does_not_change_the_hash(settings):
    default = cell_from_config(settings(), False).hash
    assert cell_from_config(settings("results_dir=elsewhere"), False).hash == default
    assert cell_from_config(settings("device=cpu"), True).hash == default
    # Weights only: no calibrator has anything to decide.
    weights_only = cell_from_config(settings("activations=false"), False)
    assert weights_only.hash == cell_from_config(settings("activations=false", "calib=entropy"), False).hash
    assert (weights_only.calib, weights_only.activation_bits) == (None, None)
    assert weights_only == cell_from_config(settings("activations=false", "residual_adds=true"), False)
    assert cell_from_config(settings("gelu_bound=10"), False) == cell_from_config(settings("gelu_bound=10.0"), False)


@pytest.mark.parametrize("bits, calib, expected", [(8, {"name": "max"}, "e183ed2725a0"), (None, None, "f2043ad89b9a")])
def test_options_that_are_off_leave_the_hash_as_it_was_before_there_were_such_options(bits, calib, expected):
    cell = Cell(
        suite="desk",
        model={"name": "net", "weights": "random"},
        task={"name": "photos", "calibration_samples": 64},
        calib=calib,
        weight_granularity="per_channel",
        weight_bits=8,
        activation_bits=bits,
        mapping="scale",
        fold_bn=False,
        skip_layers=("conv1",),
        residual_adds=False,
        gelu_bound=None,
        method="ptq",
        backend="simulate",
        seed=0,
        limit=None,
        batch_size=64,
        device="cpu",
    )
    assert cell.hash == expected
    assert len({cell.hash, replace(cell, residual_adds=True).hash, replace(cell, gelu_bound=10.0).hash}) == 3


@pytest.mark.parametrize(
    "override, message",
    [
        ("weight_bits=1", "weight_bits=1: must be an integer from 2 to 8"),
        ("weight_bits=9", "weight_bits=9: must be an integer from 2 to 8"),
        ("activation_bits=eight", "activation_bits=eight: must be an integer from 2 to 8"),
        ("activation_bits=true", "activation_bits=True: must be an integer from 2 to 8"),
        ("mapping=log", "mapping=log: must be one of scale, affine"),
        ("limit=0", "limit=0: must be an integer of at least 1"),
        ("batch_size=0", "batch_size=0: must be an integer of at least 1"),
        ("seed=-1", "seed=-1: must be an integer from 0"),
        ("fold_bn=maybe", "fold_bn=maybe: must be true or false"),
        ("residual_adds=maybe", "residual_adds=maybe: must be true or false"),
        ("gelu_bound=0", "gelu_bound=0: must be a number above 0"),
        ("gelu_bound=-1.5", "gelu_bound=-1.5: must be a number above 0"),
        ("gelu_bound=inf", "gelu_bound=inf: must be a number above 0"),
        ("gelu_bound=true", "gelu_bound=True: must be a number above 0"),
        ("gelu_bound=ten", "gelu_bound=ten: must be a number above 0"),
        ("skip_layers=conv1", "skip_layers=conv1: must be a list"),
        ("device=tpu", "device=tpu: must be one of auto, cpu, cuda"),
        ("device=cuda", "device=cuda: torch sees no CUDA device here"),
    ],
)
def test_bad_values_are_named_with_what_is_wanted(settings, override, message):
    with pytest.raises(UserError, match=message):
        cell_from_config(settings(override), False)


@pytest.mark.parametrize("value", ["0", "-1", "100.1", "high", "null"])
def test_percentile_outside_its_range(settings, value):
    with pytest.raises(UserError, match=r"calib\.percentile=.*must be a number above 0 and at most 100"):
        cell_from_config(settings("calib=percentile", f"calib.percentile={value}"), False)
