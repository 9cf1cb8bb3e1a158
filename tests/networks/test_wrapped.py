"""Checkpoints as training programs write them: wrappers, prefixes, averages, and objects that are no tensors."""

import argparse
import collections
import pathlib
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from quantbench.errors import UserError
from quantbench.networks.checkpoint import Inert, read, restore
from quantbench.networks.random_weights import seeded


def build():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def state():
    return dict(seeded(build, 5).state_dict())


def restored(content, tmp_path, name="w.pth"):
    torch.save(content, tmp_path / name)
    module = seeded(build, 0)
    restore(module, str(tmp_path / name), seed=0)
    return module.state_dict()


def same(found, state):
    return found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model._orig_mod.", "module.module.", "net."])
@pytest.mark.parametrize("name", ["w.pth", "w.ckpt", "w.pth.tar"])
def test_a_prefix_is_taken_off_and_said_once(tmp_path, state, prefix, name, capsys):
    assert same(restored({prefix + key: value for key, value in state.items()}, tmp_path, name), state)
    assert capsys.readouterr().err == f"quantbench: {tmp_path / name}: '{prefix}' is taken off its keys\n"


def test_what_fits_is_said_nothing_of(tmp_path, state, capsys):
    assert same(restored({"state_dict": state, "epoch": 3}, tmp_path), state)
    assert same(restored({"model_state_dict": state}, tmp_path), state)
    assert capsys.readouterr().err == ""


def test_wrappers_within_the_keys(tmp_path, state, capsys):
    def wrapped(key):
        layer, name = key.split(".")
        return f"{layer}.{'module' if layer == '0' else '_orig_mod'}.{name}"

    assert same(restored({wrapped(key): value for key, value in state.items()}, tmp_path), state)
    assert "'_orig_mod.', 'module.' is taken off" in capsys.readouterr().err


def test_wrappers_as_torch_makes_them(tmp_path, state):
    module = seeded(build, 5)
    for wrapper in (nn.DataParallel(module), AveragedModel(module), torch.compile(module)):
        assert same(restored(wrapper.state_dict(), tmp_path), state)


def test_what_stands_beside_the_network_is_counted(tmp_path, state, capsys):
    lightning = {**{f"model.{key}": value for key, value in state.items()}, "loss.weight": torch.ones(2)}
    content = {"state_dict": lightning, "hyper_parameters": {"lr": 0.1}, "epoch": 1}
    assert same(restored(content, tmp_path, "w.ckpt"), state)
    assert "'model.' is taken off its keys, 1 other tensors are left out (loss.weight)" in capsys.readouterr().err


def test_what_stands_within_the_network_is_refused(tmp_path, state):
    for prefix in ("", "model."):
        content = {prefix + key: value for key, value in state.items()}
        with pytest.raises(UserError, match=r"1 unexpected \(4\.weight\)"):
            restored({**content, f"{prefix}4.weight": torch.ones(2)}, tmp_path)


def test_pruned_weights_stay_refused(tmp_path, state):
    module = seeded(build, 5)
    prune.l1_unstructured(module[0], "weight", 0.5)
    for prefix in ("", "module."):
        content = {prefix + key: value for key, value in module.state_dict().items()}
        with pytest.raises(UserError, match=rf"missing \(.*0\.weight.*unexpected \({prefix}0\.weight_orig|weight_orig"):
            restored(content, tmp_path)


def test_averages_beside_raw_weights_are_said_by_both_names(tmp_path, state, capsys):
    average = {key: value + 1 for key, value in state.items()}
    module = AveragedModel(seeded(build, 5))
    for content, raw, averaged in (
        ({"model": state, "model_ema": module.state_dict()}, "model", "model_ema"),
        ({"state_dict": state, "state_dict_ema": average}, "state_dict", "state_dict_ema"),
        (
            {"model." + k: v for k, v in state.items()} | {"ema_model." + k: v for k, v in average.items()},
            "model.",
            "ema_model.",
        ),
        (state | {"ema." + k: v for k, v in average.items()}, "", "ema."),
    ):
        assert same(restored(content, tmp_path), state)
        assert f"the weights '{raw}' are taken, not their averages '{averaged}'" in capsys.readouterr().err


def test_averages_alone(tmp_path, state, capsys):
    average = {key: value + 1 for key, value in state.items()}
    assert same(restored({"ema": average, "step": 3}, tmp_path), average)
    assert "the averaged weights 'ema' are taken, there are no others" in capsys.readouterr().err


def test_two_networks_are_refused(tmp_path, state):
    content = {f"{name}.{key}": value for name in ("student", "teacher") for key, value in state.items()}
    with pytest.raises(UserError, match=r"holds several networks, 'student\.' and 'teacher\.': save"):
        restored(content, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_torchvision_s_reference_checkpoint(tmp_path, state, zipped):
    seen = collections.defaultdict(int, steps=3)
    args = argparse.Namespace(lr=0.1, output_dir=pathlib.PurePosixPath("a"), opt="sgd", seen=seen)
    content = {"model": state, "optimizer": {"state": {}}, "epoch": 3, "args": args, "best": np.float64(71.5)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert same(read(tmp_path / "w.pth")[0], state)


def test_objects_beside_tensors_stay_inert(tmp_path):
    """Even a constructor that has an effect runs not: what is read is a stand-in."""
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(1), "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(UserError, match="'args' is a Namespace, not a tensor"):
        read(path)
    assert vars(Inert(1, a=2)) == {}


class Effect:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "call",
    [
        (np.savetxt, ("trace", [1.0])),
        (pathlib.Path.touch, (pathlib.Path("trace"),)),
        (eval, ("open('trace', 'w')",)),
        (exec, ("open('trace', 'w')",)),
    ],
)
def test_no_call_of_a_file_runs(tmp_path, monkeypatch, state, call):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": state, "args": Effect(call)}, "w.pth")
    try:
        assert same(read(tmp_path / "w.pth")[0], state)
    except UserError as error:
        assert "could run code: it was not loaded" in str(error)
    assert not (tmp_path / "trace").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_whole_module_is_refused_by_its_name(tmp_path):
    torch.save(build(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds torch\.nn\.modules\.container\.Sequential, which could run code"):
        read(tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Inert))
    with pytest.raises(UserError):
        read(tmp_path / "w.pth")


def test_a_safetensors_file_with_a_prefix(tmp_path, state):
    save_file({f"module.{key}": value for key, value in state.items()}, tmp_path / "w.safetensors")
    module = seeded(build, 0)
    restore(module, str(tmp_path / "w.safetensors"), seed=0)
    assert same(module.state_dict(), state)


def test_a_checkpoint_of_lightning(tmp_path, state, monkeypatch):
    """Lightning's hyperparameters are a kind of dict of its own; the library need not be here."""
    import sys
    import types

    name = "pytorch_lightning.utilities.parsing"
    kind = type("AttributeDict", (dict,), {"__module__": name})
    for part in ("pytorch_lightning", "pytorch_lightning.utilities", name):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    sys.modules[name].AttributeDict = kind
    weights = {f"model.{key}": value for key, value in state.items()}
    content = {"state_dict": weights, "hyper_parameters": kind(lr=0.1), "pytorch-lightning_version": "2.5"}
    assert same(restored(content, tmp_path, "w.ckpt"), state)
