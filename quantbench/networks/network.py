"""What the rest of the program knows of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """A module under test with its preprocessing.

    `module` is in eval mode, float32, on the CPU. `preprocess` turns the raw inputs of one sample (for vision: uint8
    array [H, W, C]) into one float32 tensor without a batch dimension; a batch is their stack. `example` holds the
    arguments of one forward pass with a batch of one: its shapes count, its values do not. `weights` identifies the
    weights (`sha256:<hex>`, `random:<seed>`), `preprocessing` says in words what `preprocess` does.
    """

    name: str
    module: nn.Module
    preprocess: Callable[[Any], Tensor]
    example: tuple[Tensor, ...]
    weights: str
    preprocessing: str
