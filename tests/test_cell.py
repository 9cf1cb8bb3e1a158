import pytest

from quantbench.cell import cell_from_config
from quantbench.errors import UserError


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
