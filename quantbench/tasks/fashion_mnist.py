"""Fashion-MNIST (Xiao et al. 2017): 28 x 28 photos of clothes in 10 classes, 60,000 to train and 10,000 to test."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.sampling import draw
from quantbench.tasks.task import Sample, Task

MEAN = 0.2860
STD = 0.3530
"""Of the training photos, as values from 0 to 1."""

NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CLASSES = len(NAMES)
SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
"""File name stem and number of photos of each split."""

_IMAGES, _LABELS = 0x0803, 0x0801
"""Magic numbers of idx files: unsigned bytes in three and in one dimension."""


def load(*, calibration_samples: int = 1024, seed: int = 0) -> Task:
    """The task: the 10,000 test photos, calibrated by training photos that `seed` draws.

    A sample reads as uint8 [28, 28, 1], its target is the class index. Raises UserError if the data cannot
    be had or are damaged.
    """
    train_ids = draw(SPLITS["train"][1], calibration_samples, seed, "training photos")
    return Task(
        name="fashion_mnist",
        metrics=(ACCURACY,),
        calibration=_samples("train", train_ids),
        evaluation=_samples("test", range(SPLITS["test"][1])),
        predict=predicted_class,
        classes=NAMES,
    )


def load_split(split: str) -> tuple[Tensor, Tensor]:
    """Photos, uint8 [N, 1, 28, 28], and class indices, int64 [N], of the split `train` or `test`."""
    images, labels = _arrays(split)
    return torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64))


def normalize(photos: Tensor) -> Tensor:
    """Photos of any shape, uint8, as float32 with the training photos' mean 0 and standard deviation 1."""
    return (photos.float() / 255.0 - MEAN) / STD


def read_idx(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The content of an idx file of unsigned bytes. Raises UserError if it has not this magic number and shape."""
    data = path.read_bytes()
    header = struct.pack(f">{1 + len(shape)}I", magic, *shape)
    if data[: len(header)] != header or len(data) != len(header) + int(np.prod(shape)):
        expected = " x ".join(map(str, shape))
        raise UserError(
            f"{path} is not an idx file of {expected} bytes; run 'quantbench assets fetch --force fashion_mnist'"
        )
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)


def _arrays(split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    stem, count = SPLITS[split]
    folder = fetch("fashion_mnist")
    images = read_idx(folder / f"{stem}-images-idx3-ubyte", _IMAGES, (count, 28, 28))
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte", _LABELS, (count,))
    if labels.max() >= CLASSES:
        raise UserError(
            f"{folder / stem}-labels-idx1-ubyte holds the label {labels.max()}, there are {CLASSES} classes"
        )
    return images, labels


def _samples(split: str, indices: Iterable[int]) -> list[Sample]:
    images, labels = _arrays(split)
    return [Sample(f"{split}/{i:05d}", partial(_photo, images, i), int(labels[i])) for i in indices]


def _photo(images: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    return images[index, :, :, None]
