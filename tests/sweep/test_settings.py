"""Types and ranges of the configuration."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from quantbench.errors import UserError
from quantbench.sweep.compose import typed
from quantbench.sweep.settings import Settings

NAMED = {group: {"name": "x"} for group in ("model", "task", "calib", "granularity", "method", "backend", "suite")}


@pytest.mark.parametrize(
    "changed",
    [
        {"weight_bits": 1},
        {"weight_bits": 9},
        {"activation_bits": 9},
        {"mapping": "log"},
        {"limit": 0},
        {"batch_size": 0},
        {"seed": -1},
        {"threads": 0},
        {"retry": "always"},
        {"gelu_bound": 0.0},
        {"gelu_bound": float("inf")},
        {"device": "tpu"},
        {"results_dir": ""},
        {"model": {}},
        {"model": {"name": None}},
    ],
)
def test_what_is_out_of_range_is_refused_by_its_key(changed):
    with pytest.raises(UserError, match=f"^{next(iter(changed))}"):
        replace(Settings(**NAMED), **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"activation_bits": "eight"},
        {"activation_bits": True},
        {"limit": 2.5},
        {"fold_bn": "maybe"},
        {"gelu_bound": "ten"},
        {"skip_layers": "conv1"},
        {"epochs": 3},
    ],
)
def test_what_is_of_the_wrong_type_or_unknown_is_refused(changed):
    with pytest.raises(UserError):
        typed(OmegaConf.create({**NAMED, **changed}))


def test_the_message_names_key_value_and_what_is_wanted():
    with pytest.raises(UserError, match="weight_bits=99: must be an integer from 2 to 8"):
        typed(OmegaConf.create({**NAMED, "weight_bits": 99}))
