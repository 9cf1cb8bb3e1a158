"""The features, beside the same formulas written out in numpy and beside librosa's filters."""

import numpy as np
import pytest
import torch

from quantbench.networks.jasper.features import Hearing, band_of, centres, features, log_mel, mel_filters, normalize


@pytest.fixture(scope="module")
def sound():
    return (0.1 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32)


def test_the_mel_filters_are_librosas():
    # librosa 0.11: librosa.filters.mel(sr=16000, n_fft=512, n_mels=64)
    filters = mel_filters().numpy()
    assert filters.shape == (64, 257)
    some = {
        (0, 1): 0.014511282,
        (0, 2): 0.014075512,
        (10, 15): 0.0021788510,
        (10, 16): 0.016690133,
        (10, 17): 0.011896661,
        (32, 53): 0.0010867540,
        (32, 55): 0.010423034,
        (32, 58): 0.00029986337,
        (63, 233): 0.000088092194,
        (63, 238): 0.0012889692,
    }
    assert {place: filters[place] for place in some} == pytest.approx(some, abs=1e-8)
    assert [np.count_nonzero(filters[band]) for band in (0, 10, 32, 63)] == [2, 3, 6, 23]


def test_bands_and_their_frequencies():
    middles = centres()
    # librosa.mel_frequencies(n_mels=66, fmin=0, fmax=8000)
    assert middles[[0, 1, -1]] == pytest.approx([46.4057851, 92.8115702, 7626.15921059])
    assert band_of(middles) == pytest.approx(np.arange(64))
    assert band_of(np.array([0.0, 8000.0])) == pytest.approx([-1, 64])


def test_a_frame_is_the_power_of_a_window_in_bands(sound):
    found = log_mel(sound)
    assert found.shape == (64, 26) and found.dtype == torch.float32
    emphasized = np.append(sound[0], sound[1:] - 0.97 * sound[:-1]).astype(np.float64)
    padded = np.pad(emphasized, 256)
    window = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 319), 96)  # 20 ms in the middle of 512 samples
    for frame in (0, 7, 25):
        power = np.abs(np.fft.rfft(window * padded[160 * frame : 160 * frame + 512])) ** 2
        expected = np.log(mel_filters().double().numpy() @ power + 2.0**-24)
        assert np.allclose(found[:, frame], expected, atol=1e-4)


def test_every_band_has_mean_0_and_deviation_1_over_the_clip(sound):
    found = features(sound).double().numpy()
    assert np.allclose(found.mean(1), 0, atol=1e-5) and np.allclose(found.std(1), 1, atol=1e-3)
    assert torch.equal(features(sound), features(sound))  # no dither
    # Louder by a factor is the same but for the floor below the logarithm.
    assert np.allclose(features(4 * sound), found, atol=0.02)


def test_silence_and_a_single_sample_are_finite():
    assert torch.equal(features(np.zeros(800, np.float32)), torch.zeros(64, 6))
    assert features(np.ones(1, np.float32)).shape == (64, 1)
    assert torch.isfinite(normalize(torch.zeros(2, 64, 1))).all()


def test_what_other_programs_do_otherwise(sound):
    silence = np.zeros(800, np.float32)
    assert torch.allclose(log_mel(silence, Hearing(floor=1e-20)), torch.full((64, 6), -46.0517))  # ln 1e-20
    noise = torch.randn(800, generator=torch.Generator().manual_seed(0)).numpy()
    found = log_mel(silence, Hearing(floor=1e-20, dither=1e-5))
    assert torch.equal(found, log_mel(1e-5 * noise, Hearing(floor=1e-20)))
    led = features(sound, Hearing(lead=16))
    assert torch.equal(led[:, 16:], features(sound)) and not led[:, :16].any()
    assert torch.equal(features(sound, Hearing(dither=1e-3)), features(sound, Hearing(dither=1e-3)))
    assert not torch.equal(features(sound, Hearing(dither=1e-3)), features(sound))
