"""A written command gives the cell that it was written for, and a row says what of its choices is one's own."""

import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from quantbench.sweep.cell import cell_from_settings
from quantbench.sweep.command import command, own_options
from quantbench.sweep.compose import compose_one, parse_arguments, read_request, typed
from quantbench.sweep.groups import conf_folder


@pytest.fixture
def job(monkeypatch):
    """The composed configuration of overrides, as the job of Hydra that is running."""

    def running(*overrides):
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = compose("config", list(overrides), return_hydra_config=True)
        monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
        monkeypatch.setattr(HydraConfig, "get", lambda: config.hydra)
        return config

    return running


@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["calib=percentile", "calib.percentile=99.5", "skip_layers=[conv1,layer1.*]", "results_dir=x", "force=true"],
        ["model=resnet50", "task.path='/data/my photos, 2012'"],
        ["experiment=table3", "granularity=per_tensor", "suite=desk"],
    ],
)
def test_a_command_gives_its_cell_again(job, asked):
    wanted = cell_from_settings(typed(job(*asked)), False)
    program, run, *words = shlex.split(command())
    assert (program, run) == ("quantbench", "run")
    assert cell_from_settings(typed(compose_one(words, "a test")), False) == wanted
    assert not read_request(parse_arguments(words)).multirun
    assert not any(word.startswith(("results_dir", "force")) for word in words)


def test_options_of_model_and_task_that_differ_from_their_files(job):
    assert own_options(job()) == {"model_options": None, "task_options": None}
    config = job("model.weights=random", "task.calibration_samples=16")
    assert own_options(config) == {"model_options": "weights=random", "task_options": "calibration_samples=16"}


def test_where_files_lie_is_no_option_of_a_row(job, tmp_path):
    (tmp_path / "mine.pth").touch()
    config = job("model=resnet50", f"model.weights={tmp_path}/mine.pth", "task.path=/data/imagenet", "task.classes=10")
    assert own_options(config) == {"model_options": "weights=mine.pth", "task_options": "classes=10"}
    config = job("model=hf", f"model.name={tmp_path}", "model.head=embedding")
    assert own_options(config)["model_options"] == "head=embedding"
    assert (
        own_options(job("model=hf", "model.name=org/net", "+model.hub=org/other"))["model_options"] == "hub=org/other"
    )


def test_without_hydra_there_is_no_command(monkeypatch):
    monkeypatch.setattr(HydraConfig, "initialized", lambda: False)
    assert command() == ""
