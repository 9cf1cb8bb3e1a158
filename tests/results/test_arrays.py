"""Files of arrays that were cut, bit-flipped, renamed or made by another program: none, or the same values."""

import random

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantbench.results.arrays import read_arrays, write_arrays

ARRAYS = {
    "sites": np.array(["fc.input", "layer1.0"]),
    "counts": np.arange(6).reshape(3, 2).T,
    "seconds": np.array(0.25),
    "outputs": np.ones((2, 0, 3), np.float32),
}


@pytest.fixture
def path(tmp_path):
    write_arrays(tmp_path / "key.safetensors", ARRAYS)
    return tmp_path / "key.safetensors"


def same(found):
    return all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in ARRAYS.items()
    )


def test_arrays_come_back(path):
    assert same(read_arrays(path, tuple(ARRAYS)))


def test_no_bit_can_flip_unseen(path):
    draw, whole, seen, every = random.Random(0), path.read_bytes(), 0, 3
    for start in range(0, 8 * len(whole) - every, every):
        damaged = bytearray(whole)
        place = start + draw.randrange(every)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = read_arrays(path, tuple(ARRAYS))
        assert found is None or same(found)
        seen += found is None
    assert seen > 6 * len(whole) // every


def test_a_file_that_was_cut_off_anywhere_is_none(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert read_arrays(path, tuple(ARRAYS)) is None


def test_arrays_of_another_key_or_another_program_and_others_than_asked_for_are_none(path):
    assert read_arrays(path, ("sites", "counts")) is None
    assert read_arrays(path, (*ARRAYS, "more")) is None
    assert read_arrays(path.rename(path.with_stem("other")), tuple(ARRAYS)) is None
    assert read_arrays(path, tuple(ARRAYS)) is None
    save_file({"seconds": ARRAYS["seconds"]}, path)
    assert read_arrays(path, ("seconds",)) is None
