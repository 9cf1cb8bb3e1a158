"""What train_speech.py does to the features of a clip before each time they are learned from."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from quantbench.networks.jasper.features import BANDS, band_of, centres, normalize


def augmented(bands: Tensor, draw: np.random.Generator) -> Tensor:
    """Log-mel features [64, T] of another voice, perhaps in noise, normalized, with masks; `draw` is used up."""
    voice = _warped(bands, draw.uniform(0.9, 1.1))
    return _masked(normalize(_in_noise(voice, draw) if draw.random() < 0.5 else voice), draw)


def _warped(bands: Tensor, factor: float) -> Tensor:
    """The sound of a vocal tract that is shorter by a factor: all frequencies are higher by it."""
    source = np.clip(band_of(centres() / factor), 0, BANDS - 1)
    below = np.minimum(source.astype(int), BANDS - 2)
    share = torch.from_numpy((source - below).astype(np.float32))[:, None]
    return bands[below] * (1 - share) + bands[below + 1] * share


def _in_noise(bands: Tensor, draw: np.random.Generator) -> Tensor:
    """With noise of a random spectrum, 6 to 26 dB below the sound."""
    colour = np.linspace(0, draw.uniform(-3, 3), BANDS) + draw.normal(0, 0.3, BANDS)
    loudness = float(bands.logsumexp((0, 1))) - math.log(bands.numel()) - draw.uniform(1.5, 6.0)
    power = torch.from_numpy(draw.exponential(1.0, bands.shape).astype(np.float32) + 1e-6)
    return torch.logaddexp(bands, power.log() + torch.from_numpy(colour - colour.mean()).float()[:, None] + loudness)


def _masked(bands: Tensor, draw: np.random.Generator) -> Tensor:
    """Up to two stripes of bands and two of times set to their mean, 0 (SpecAugment, Park et al. 2019)."""
    frames = bands.shape[1]
    for _ in range(2):
        start, width = int(draw.integers(0, BANDS)), int(draw.integers(0, 11))
        bands[start : start + width] = 0
        start, width = int(draw.integers(0, frames)), int(draw.integers(0, max(2, min(30, frames // 12))))
        bands[:, start : start + width] = 0
    return bands
