"""Sound to log-mel features as Jasper reads them (Li et al. 2019, section 2), on the CPU.

Windows of 20 ms every 10 ms, 64 mel bands of 16 kHz sound, each band normalized over the utterance. The same sound
always gives the same features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantbench.networks.audio import SAMPLE_RATE

BANDS = 64
HOP = 160  # samples: 10 ms
PREPROCESSING = "16 kHz, preemphasis 0.97, 20 ms Hann windows every 10 ms, 64 log-mel bands normalized over the clip"

_WINDOW, _FFT = 320, 512
_PREEMPHASIS = 0.97


@dataclass(frozen=True)
class Hearing:
    """What the programs that train such networks do each in its own way.

    `floor` is added to a power before its logarithm; `dither` is the standard deviation of noise added to the sound
    (full scale is 1), the same noise at every call; `lead` is how many frames of zeros come before the first.
    """

    floor: float = 2.0**-24
    dither: float = 0.0
    lead: int = 0

    def __str__(self) -> str:
        """In words."""
        extras = f", noise of {self.dither:g}, floor of {self.floor:g}, {self.lead} frames of zeros first"
        return PREPROCESSING + (extras if self != PLAIN else "")


PLAIN = Hearing()


def features(sound: NDArray[np.float32], hearing: Hearing = PLAIN) -> Tensor:
    """Normalized log-mel features of mono sound at 16 kHz, float32 [64, lead + 1 + samples // 160]."""
    return torch.nn.functional.pad(normalize(log_mel(sound, hearing)), (hearing.lead, 0))


def log_mel(sound: NDArray[np.float32], hearing: Hearing = PLAIN) -> Tensor:
    """Natural logarithms of the powers in 64 mel bands, float32 [64, 1 + samples // 160]."""
    signal = torch.as_tensor(sound, dtype=torch.float32)
    if hearing.dither:
        signal = signal + hearing.dither * torch.randn(signal.shape, generator=torch.Generator().manual_seed(0))
    signal = torch.cat([signal[:1], signal[1:] - _PREEMPHASIS * signal[:-1]])
    spectrum = torch.stft(signal, _FFT, HOP, _WINDOW, window(), pad_mode="constant", return_complex=True)
    return torch.log(mel_filters() @ spectrum.abs().square() + hearing.floor)


def normalize(bands: Tensor) -> Tensor:
    """Every row of [..., 64, T] with mean 0 and standard deviation 1 over its T frames."""
    exact = bands.double()  # of a constant row, float32 would leave something
    centred = exact - exact.mean(-1, keepdim=True)
    return (centred / (centred.square().mean(-1, keepdim=True).sqrt() + 1e-5)).float()


def centres() -> NDArray[np.float64]:
    """The middle frequency of every band, in Hz: float64 [64]."""
    return _edges()[1:-1]


def band_of(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The band whose middle a frequency is; between two bands, how far from one to the other."""
    return _mel(hertz) / _mel(np.array(SAMPLE_RATE / 2)) * (BANDS + 1) - 1


def window() -> Tensor:
    """The symmetric Hann window, float32 [320]."""
    return torch.hann_window(_WINDOW, periodic=False)


@lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """Triangles of equal area on Slaney's mel scale from 0 to 8 kHz, float32 [64, 257], as librosa.filters.mel."""
    edges = _edges()
    frequencies = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(triangles.astype(np.float32))


def _edges() -> NDArray[np.float64]:
    return _hertz(np.linspace(0.0, float(_mel(np.array(SAMPLE_RATE / 2))), BANDS + 2))


# Slaney's scale is linear up to 1000 Hz, which are 15 mel, and logarithmic above, 27 mel for a factor of 6.4.
_LINEAR, _FROM, _STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _FROM / _LINEAR + np.log(np.maximum(hertz, _FROM) / _FROM) / _STEP
    return np.where(hertz < _FROM, hertz / _LINEAR, above)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < _FROM / _LINEAR, mel * _LINEAR, _FROM * np.exp((mel - _FROM / _LINEAR) * _STEP))
