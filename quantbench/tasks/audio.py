"""Reads sound from files: mono at 16 kHz."""

from __future__ import annotations

import io
import sys
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError

SAMPLE_RATE = 16_000
RATES = (1_000, 768_000)  # Hz
MOST_SECONDS = 3600  # of all channels together


def read_sound(source: Path | bytes, name: str, expected_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """The sound of a file, or of the content of one, called `name`: mono at 16 kHz, float32 [samples] in -1 .. 1.

    Channels are averaged. Sound at another rate is resampled, which is said once a rate on stderr unless it is the
    `expected_rate`, in Hz. Raises UserError if the sound cannot be decoded, holds no sample, or claims to last longer
    than an hour or a rate that no sound has: neither is believed.
    """
    import soundfile
    from scipy.signal import resample_poly

    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with soundfile.SoundFile(file) as opened:
            rate, length = opened.samplerate, opened.frames * opened.channels
            if not RATES[0] <= rate <= RATES[1] or length > rate * MOST_SECONDS:
                raise UserError(f"{name} says that it has {length:,} samples at {rate} Hz: cut it, or get it anew")
            sound = opened.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise UserError(f"{name} cannot be decoded ({' '.join(str(error).split())}): get it anew") from error
    if not len(sound):
        raise UserError(f"{name} holds no sound (0 samples): get it anew, or remove it and its transcript")
    mono = sound.mean(1)
    if rate != SAMPLE_RATE:
        if rate != expected_rate:
            _say_resampled(rate)
        common = int(np.gcd(SAMPLE_RATE, rate))
        mono = resample_poly(mono, SAMPLE_RATE // common, rate // common)
    mono = np.asarray(mono, np.float32)
    if not np.isfinite(mono).all():
        raise UserError(f"{name} holds samples that are NaN or infinite: get it anew")
    return mono


@cache
def _say_resampled(rate: int) -> None:
    print(f"quantbench: sound at {rate} Hz is resampled to {SAMPLE_RATE} Hz", file=sys.stderr)
