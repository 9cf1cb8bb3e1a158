import hashlib
import json
import os
import pickle
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from quantbench.errors import UserError
from quantbench.networks.checkpoint import load_into, read, restore, seeded, shipped


def build():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def state():
    return seeded(build, 5).state_dict()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_a_state_dict_survives(tmp_path, state, suffix, nest):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({nest: state, "epoch": 3} if nest else state, path)
    found, sha256 = read(path, digest(path))
    assert sha256 == digest(path)
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["half", "head", "empty"])
def test_damaged_files(tmp_path, state, suffix, damage):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    data = path.read_bytes()
    path.write_bytes({"half": data[: len(data) // 2], "head": bytes(64) + data[64:], "empty": b""}[damage])
    with pytest.raises(UserError, match=r"weights\.\w+ is damaged") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_another_checksum(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(UserError, match=f"its sha256 is {digest(path)[:16]}"):
        read(path, "0" * 64)
    assert read(path, digest(path)[:8])[1] == digest(path)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "bare pickle", "legacy"])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, state, form):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    content = {**state, "evil": Evil(trace)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(Evil(trace)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    assert form != "zip" or zipfile.is_zipfile(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match="could run code: it was not loaded"):
            read(path)
    assert not trace.exists()


def test_files_that_hold_no_state_dict(tmp_path, state):
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"a": "text"}, tmp_path / "text.pth")
    (tmp_path / "weights.npz").write_bytes(b"x")
    with pytest.raises(UserError, match="holds no state dict"):
        read(tmp_path / "list.pth")
    with pytest.raises(UserError, match="'a' is a str, not a tensor"):
        read(tmp_path / "text.pth")
    with pytest.raises(UserError, match=r"must be a \.safetensors"):
        read(tmp_path / "weights.npz")
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "nothing.pth")


def test_keys_that_do_not_match_are_named(tmp_path, state):
    del state["0.bias"]
    state["3.weight"] = torch.zeros(2, 5)
    state |= {f"extra{index}": torch.zeros(1) for index in range(5)}
    with pytest.raises(UserError) as error:
        load_into(build(), state, tmp_path / "w.pth")
    text = str(error.value)
    assert "1 missing (0.bias)" in text
    assert "5 unexpected (extra0, extra1, extra2, ...)" in text
    assert "1 of another shape (3.weight (2, 5) instead of (2, 4))" in text
    assert text.endswith("of 9 tensors")


def test_old_files_lack_the_counters_of_batch_normalization(tmp_path, state):
    del state["1.num_batches_tracked"]
    module = build()
    load_into(module, state, tmp_path / "w.pth")
    assert torch.equal(module[0].weight, state["0.weight"])


def test_random_weights_follow_the_seed_and_leave_torch_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = seeded(build, 3), seeded(build, 3), seeded(build, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one[0].weight, same[0].weight) and not torch.equal(one[0].weight, other[0].weight)
    assert restore(one, "random", seed=3) == "random:3" and not one.training


def test_restore_from_a_path(tmp_path, state):
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    module = seeded(build, 0)
    assert restore(module, str(path), seed=0) == f"sha256:{digest(path)}"
    assert torch.equal(module[3].weight, state["3.weight"]) and not module.training
    with pytest.raises(
        UserError, match=r"model\.weights=nothing: no such file; it must be shipped, random or the path"
    ):
        restore(module, "nothing", seed=0, known_as="shipped")


def test_shipped_weights_have_a_record(tmp_path, state):
    with pytest.raises(UserError, match="no weights of net are shipped"):
        shipped("net", tmp_path)
    save_file(state, tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text("{")
    with pytest.raises(UserError, match=r"net\.json is damaged"):
        shipped("net", tmp_path)
    (tmp_path / "net.json").write_text(json.dumps({"sha256": "f" * 64}))
    path, sha256 = shipped("net", tmp_path)
    with pytest.raises(UserError, match="is damaged: its sha256"):
        read(path, sha256)
