"""A written command gives the cell that it was written for."""

import shlex

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from quantbench.sweep.cell import cell_from_config
from quantbench.sweep.command import command_for, overrides
from quantbench.sweep.groups import conf_folder, defaults


def choices(**chosen):
    return {**defaults(), **chosen}


def test_the_default_cell(settings, monkeypatch):
    monkeypatch.setattr(HydraConfig, "initialized", lambda: False)  # an earlier job of this process leaves its own
    assert overrides(settings(), choices(), [conf_folder()]) == ["model=resnet20_fashion"]
    assert command_for(settings()) == ""


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ([], {}),
        (["calib=percentile", "calib.percentile=99.5", "weight_bits=4"], {"calib": "percentile"}),
        (
            ["calib=percentile_99_9999", "granularity=per_tensor", "fold_bn=true"],
            {"calib": "percentile_99_9999", "granularity": "per_tensor"},
        ),
        (["skip_layers=[conv1,layer1.*]", "limit=5", "seed=3"], {}),
        (["model=efficientnet_lite0", "activations=false"], {"model": "efficientnet_lite0", "task": "imagenet_photos"}),
        (["model=mobilenet_v2_fashion", "task.calibration_samples=16"], {"model": "mobilenet_v2_fashion"}),
        (["model=resnet50", "task.path='/data/my photos, 2012'"], {"model": "resnet50", "task": "imagenet"}),
        (["+model.arch=resnet20_fashion", "model.weights=random", "mapping=affine"], {}),
        (["experiment=table3", "granularity=per_tensor"], {"granularity": "per_tensor"}),
    ],
)
def test_a_command_gives_its_cell_again(settings, asked, chosen):
    wanted = settings(*asked)
    written = overrides(wanted, choices(**chosen), [conf_folder()])
    assert cell_from_config(settings(*written), False) == cell_from_config(wanted, False)
    assert not any(word.startswith(("experiment", "results_dir", "force", "suite")) for word in written)


def test_a_job_of_hydra_says_its_command_with_the_folder_of_its_groups(settings, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# M\nname: mine\nfamily: fashion\narch: resnet20_fashion\n")
    source = {"path": str(tmp_path), "provider": "command-line"}
    hydra = {"runtime": {"config_sources": [source], "choices": choices(model="mine")}}
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create(hydra))
    wanted = settings("--config-dir", str(tmp_path), "model=mine", "weight_bits=4")
    words = shlex.split(command_for(wanted))
    assert words == [
        "quantbench",
        "run",
        "--config-dir",
        str(tmp_path),
        "model=mine",
        "task=fashion_mnist",
        "weight_bits=4",
    ]
    assert cell_from_config(settings(*words[2:]), False) == cell_from_config(wanted, False)
