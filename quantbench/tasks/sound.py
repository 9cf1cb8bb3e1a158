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


def read_sound(source: Path | bytes, name: str, expected_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """The sound of a file, or of the content of one, called `name`: mono at 16 kHz, float32 [samples] in -1 .. 1.

    Channels are averaged. Sound at another rate is resampled, which is said once a rate on stderr unless it is the
    `expected_rate`, in Hz. Raises UserError if the sound cannot be decoded or holds no sample.
    """
    import soundfile
    from scipy.signal import resample_poly

    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError) as error:
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
