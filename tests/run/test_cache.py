import numpy as np
import pytest

from quantbench.errors import UserError
from quantbench.run import cache
from quantbench.run.cache import recall

VALUES = {"values": np.arange(3.0)}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Recalls the values; says whether they were kept. Nothing but them is ever given."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")

    def recalled() -> bool:
        found, kept = recall("fp32", "key", ("values",), VALUES.copy)
        assert found["values"].tolist() == [0.0, 1.0, 2.0]
        return kept

    return recalled


def test_what_was_made_is_kept_and_what_is_damaged_made_anew(made, tmp_path):
    assert [made(), made()] == [False, True]
    path = tmp_path / "cache" / "fp32" / "key.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert [made(), made()] == [False, True]


def test_a_cache_that_cannot_be_written_is_done_without(made, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert [made(), made()] == [False, False]


def test_a_user_without_a_home_has_no_cache(made, monkeypatch):
    def homeless():
        raise UserError("no home")

    monkeypatch.setattr(cache, "cache_folder", homeless)
    assert [made(), made()] == [False, False]


def test_what_is_too_large_is_not_kept(made, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 23)
    assert [made(), made()] == [False, False]
