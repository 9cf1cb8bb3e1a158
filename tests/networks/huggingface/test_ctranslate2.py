from __future__ import annotations

import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantbench.errors import UserError
from quantbench.networks.huggingface.ctranslate2 import read
from tests.tiny_speech import ctranslate2_file

VARIABLES = {
    "a/weight": torch.arange(6, dtype=torch.float16).reshape(2, 3) / 4,
    "a/scale": torch.tensor([1.5, -2.0]),
    "a/small": torch.tensor([[[-128, 127]]], dtype=torch.int8),
    "heads": torch.tensor(6, dtype=torch.int16),
    "ids": torch.tensor([1, -70_000], dtype=torch.int32),
    "none": torch.empty(0, 4),
}
FILE = ctranslate2_file(VARIABLES, {"b/weight": "a/weight"}, "SomeSpec")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.bin"


def test_every_type_and_rank_is_read_as_written(file):
    file.write_bytes(FILE)
    model = read(file)
    assert model.specification == "SomeSpec"
    assert model.variables.keys() == {*VARIABLES, "b/weight"}
    for name, tensor in VARIABLES.items():
        found = model.variables[name]
        assert found.dtype == tensor.dtype and found.shape == tensor.shape and torch.equal(found, tensor), name
    assert model.variables["b/weight"] is model.variables["a/weight"]


def test_the_first_bytes_are_those_of_the_format(file):
    file.write_bytes(
        b"\x06\0\0\0" + b"\x02\0S\0" + b"\x01\0\0\0" + b"\x01\0\0\0"  # version, name, revision, one variable
        b"\x02\0x\0" + b"\x01" + b"\x02\0\0\0" + b"\0" + b"\x08\0\0\0"  # x, one dimension of 2, float32, 8 bytes
        b"\0\0\x80\x3f" + b"\0\0\0\xc0" + b"\0\0\0\0"  # 1, -2, no alias
    )
    model = read(file)
    assert model.specification == "S" and model.variables["x"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("length", [0, 3, 4, 5, 20, 40, len(FILE) // 2, len(FILE) - 1])
def test_a_file_that_is_cut_off_is_one_line(file, length):
    file.write_bytes(FILE[:length])
    with pytest.raises(UserError, match=r"model\.bin is damaged .*bytes early\); get it anew$"):
        read(file)


def test_what_the_format_does_not_allow_is_named(file):
    one = {"x": torch.zeros(2)}
    content = ctranslate2_file(one)
    size = content.index(struct.pack("<I", 8))
    for damaged, why in (
        (struct.pack("<I", 5) + content[4:], "its version is 5, not 6"),
        (content + b"\0", "1 bytes follow its end"),
        (content[:size] + struct.pack("<I", 4) + content[size + 4 :], r"x of shape \(2,\) has 4 bytes"),
        (content[: size - 1] + b"\x07" + content[size:], "x is of the unknown type 7"),
        (content.replace(b"\x02\0x\0\x01", b"\x02\0x\0\xff"), "x has 255 dimensions"),
        (content.replace(b"\x02\0x\0", b"\x02\0xx"), "a name does not end in NUL"),
        (content.replace(b"\x02\0x\0", b"\x02\0\xff\0"), "a name is no UTF-8"),
        (ctranslate2_file(one, {"y": "z"}), "y cannot be another name of z"),
        (ctranslate2_file(one, {"x": "x"}), "x cannot be another name of x"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=why):
            read(file)


def test_a_size_beyond_the_file_takes_no_memory(file):
    claim = struct.pack("<II", 2**32 - 1, 2**32 - 1)
    content = ctranslate2_file({"x": torch.zeros(1, 1)})
    file.write_bytes(content.replace(struct.pack("<II", 1, 1), claim))
    with pytest.raises(UserError, match="is damaged"):
        read(file)
    file.write_bytes(content.replace(struct.pack("<II", 3, 1), struct.pack("<II", 3, 2**32 - 1)))
    with pytest.raises(UserError, match="is damaged"):
        read(file)


def test_a_missing_file_is_one_line(file):
    with pytest.raises(UserError, match="cannot be read"):
        read(file)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.data())
def test_damage_is_a_user_error_or_another_value(file, changes, data):
    content = bytearray(FILE)
    for place, value in changes:
        content[place] = value
    file.write_bytes(content[: data.draw(st.integers(0, len(FILE)))])
    try:
        model = read(file)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert sum(t.numel() * t.element_size() for t in set(model.variables.values())) <= len(FILE)
