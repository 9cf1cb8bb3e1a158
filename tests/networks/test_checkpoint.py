import hashlib
import io
import json
import os
import pickle
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import nn

from quantbench.errors import UserError
from quantbench.networks.checkpoint import load_into, read, restore
from quantbench.networks.random_weights import seeded
from quantbench.networks.shipped import shipped


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


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "bare pickle", "legacy"])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, state, form):
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    content = {**state, "evil": Evil(trace)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(Evil(trace)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    assert form != "zip" or zipfile.is_zipfile(path)
    with pytest.raises(UserError, match="could run code: it was not loaded"):
        read(path)
    assert not trace.exists()


TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}
torch.save(TENSORS, SAVED := io.BytesIO())
FILES = {"pth": SAVED.getvalue(), "safetensors": save(TENSORS)}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(sorted(FILES)),
    changes=st.dictionaries(st.integers(0, 600), st.integers(0, 255), max_size=6),
    end=st.none() | st.integers(0, 2000),
)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, suffix, changes, end):
    content = bytearray(FILES[suffix])
    for place, value in changes.items():
        content[place % len(content)] = value
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content[:end])
    try:
        load_into(nn.Linear(3, 2), read(path)[0], path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert end is None or end >= len(content)


def test_files_that_hold_no_state_dict(tmp_path, state):
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"a": "text"}, tmp_path / "text.pth")
    torch.save({"a": torch.empty(1 << 40, device="meta")}, tmp_path / "meta.pth")
    (tmp_path / "weights.npz").write_bytes(b"x")
    for name, said in (
        ("list.pth", "holds no state dict"),
        ("text.pth", "'a' is a str, not a tensor"),
        ("meta.pth", "'a' is no plain tensor"),
        ("weights.npz", r"must be a \.safetensors"),
        ("nothing.pth", "No such file"),
    ):
        with pytest.raises(UserError, match=said):
            read(tmp_path / name)


def test_keys_that_do_not_match_are_named(tmp_path, state):
    del state["0.bias"]
    state["3.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20)  # takes no memory
    state["3.bias"] = torch.zeros(2, dtype=torch.int8)
    state |= {f"extra{index}": torch.zeros(1) for index in range(5)}
    with pytest.raises(UserError) as error:
        load_into(build(), state, tmp_path / "w.pth")
    text = str(error.value)
    assert "1 missing (0.bias)" in text
    assert "5 unexpected (extra0, extra1, extra2, ...)" in text
    assert "1 of another shape (3.weight (1048576, 1048576) instead of (2, 4))" in text
    assert "1 of another type (3.bias int8)" in text
    assert text.endswith("of 9 tensors")


def test_a_weight_that_is_no_number(tmp_path, state):
    state["3.bias"][1] = float("nan")
    with pytest.raises(UserError, match=r"w\.pth holds NaN or infinity in 1 tensors, first in 3\.bias: get it anew"):
        load_into(build(), state, tmp_path / "w.pth")


def test_old_files_lack_the_counters_of_batch_normalization(tmp_path, state):
    del state["1.num_batches_tracked"]
    module = build()
    load_into(module, state, tmp_path / "w.pth")
    assert torch.equal(module[0].weight, state["0.weight"])


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
    assert restore(module.train(), "random", seed=3) == "random:3" and not module.training


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
