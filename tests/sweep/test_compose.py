"""What the command line asks for, and what is said of what cannot be composed."""

from __future__ import annotations

import pytest

from quantbench.errors import Mismatch, UserError
from quantbench.sweep.compose import compose_one, parse_arguments, read_request


def request(*arguments: str):
    return read_request(parse_arguments(arguments))


@pytest.mark.parametrize(
    "override, message",
    [
        ("calib=entrpy", "no calib entrpy: did you mean entropy?"),
        ("weigth_bits=4", "no override weigth_bits: did you mean weight_bits?"),
        ("model.weigths=random", "no override model.weigths: did you mean model.weights?"),
        ("weight_bits=four", "weight_bits=four: Value 'four' of type 'str' could not be converted to Integer"),
        ("experiment=tabel3", "no experiment tabel3: did you mean table3?"),
    ],
)
def test_a_name_or_a_value_that_there_is_not(override, message):
    with pytest.raises(UserError) as refused:
        compose_one([override], "run")
    assert str(refused.value) == message


def test_a_key_of_another_choice_is_a_mismatch():
    with pytest.raises(Mismatch, match=r"no override task\.path: only with task=imagenet or .*task=squad"):
        compose_one(["task.path=/data"], "run")


@pytest.mark.parametrize(
    "arguments", [["--config-path", "x"], ["--config-dir", "nowhere"], ["--unknown"], ["a b"], ["weight_bits=4,8"]]
)
def test_a_command_line_that_cannot_be_read(arguments):
    with pytest.raises(UserError):
        request(*arguments)


def test_a_sweep_says_overrides_below_groups_for_its_jobs_only():
    asked = request(
        "-m", "calib=max,percentile", "calib.percentile=99.9", "+model.arch=x", "limit=5", "hydra.verbose=true"
    )
    assert asked.multirun
    assert asked.overrides == [
        "calib=max,percentile",
        "calib.percentile=choice(99.9)",
        "+model.arch=choice(x)",
        "limit=5",
        "hydra.verbose=true",
    ]
    assert request("calib.percentile=99.9").overrides == ["calib.percentile=99.9"]


@pytest.mark.parametrize(
    "arguments, multirun",
    [
        (["experiment=table3"], True),
        (["experiment=table3", "hydra.mode=RUN"], False),
        (["hydra.mode=MULTIRUN"], True),
        ([], False),
    ],
)
def test_a_file_may_ask_for_a_sweep_and_the_command_line_wins(arguments, multirun):
    assert request(*arguments).multirun is multirun


def test_a_folder_of_ones_own(tmp_path):
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "mine.yaml").write_text("# Mine\nname: mine\n_target_: my_calibrator.largest\n")
    assert compose_one(["--config-dir", str(tmp_path), "calib=mine"], "run").calib.name == "mine"
    (tmp_path / "calib" / "bad.yaml").write_text("name: [\n")
    with pytest.raises(UserError):
        compose_one(["--config-dir", str(tmp_path), "calib=bad"], "run")
