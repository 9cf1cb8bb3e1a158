from __future__ import annotations

import numpy as np
import pytest
import soundfile

from quantbench.errors import UserError
from quantbench.networks import audio as heard
from quantbench.tasks import audio as sound
from quantbench.tasks.audio import read_sound


@pytest.fixture(autouse=True)
def nothing_said():
    sound._say_resampled.cache_clear()


def tone(rate: int, seconds: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def test_flac_at_16_khz_is_read_as_it_is(tmp_path, capsys):
    samples = (tone(16_000) * 2**15).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 16_000)
    found = read_sound(tmp_path / "a.flac", "a")
    assert found.dtype == np.float32 and found.shape == (8_000,)
    np.testing.assert_array_equal(found, samples / np.float32(2**15))
    np.testing.assert_array_equal(found, read_sound((tmp_path / "a.flac").read_bytes(), "a"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_another_rate_is_resampled_and_said_once(tmp_path, capsys, rate):
    soundfile.write(tmp_path / "a.wav", tone(rate), rate, subtype="FLOAT")
    found = read_sound(tmp_path / "a.wav", "a")
    assert found.dtype == np.float32 and len(found) == 8_000
    np.testing.assert_allclose(found[500:-500], tone(16_000)[500:-500], atol=2e-3)
    read_sound(tmp_path / "a.wav", "a")
    assert capsys.readouterr().err == f"quantbench: sound at {rate} Hz is resampled to 16000 Hz\n"


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, -0.25], [1.0, 0.0]]), 16_000, subtype="FLOAT")
    assert read_sound(tmp_path / "a.wav", "a").tolist() == [0.125, 0.5]


def test_what_cannot_be_heard_is_one_line_with_the_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16_000)
    with pytest.raises(UserError, match=r"^a holds no sound \(0 samples\)"):
        read_sound(tmp_path / "a.wav", "a")
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"^a holds samples that are NaN"):
        read_sound(tmp_path / "a.wav", "a")
    for content in (b"", b"fLaC", b"no sound at all", (tmp_path / "a.wav").read_bytes()[:30]):
        (tmp_path / "b.flac").write_bytes(content)
        with pytest.raises(UserError, match=r"^b cannot be decoded") as refusal:
            read_sound(tmp_path / "b.flac", "b")
        assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match=r"^c cannot be decoded"):
        read_sound(tmp_path / "c.flac", "c")


def test_networks_hear_sound_at_the_rate_at_which_tasks_read_it():
    assert heard.SAMPLE_RATE == sound.SAMPLE_RATE
