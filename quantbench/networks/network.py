"""What the rest of the program knows of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Item = tuple[Tensor, ...]
"""The arguments of one forward pass for one input, without a batch dimension."""


@dataclass(frozen=True)
class Network:
    """A module under test with its preprocessing.

    `module` is in eval mode, float32, on the CPU; it maps a batch of items to one tensor [n, ...]. Where there is an
    output a position, [n, length, ...], the outputs of positions that only fill up the batch are zeros.
    `preprocess` turns the raw inputs of one sample (for vision: uint8 array [H, W, C]; for language: str or a pair of
    them; for speech: mono sound at 16 kHz, float32 array [samples]) into its items: one, or several where a long text
    is cut into windows or two texts are compared.
    `example` holds the arguments of one forward pass with a batch of one: its shapes count, its values do not.
    `weights` identifies the weights (`sha256:<hex>`, `random:<seed>`), `preprocessing` says in words what `preprocess`
    does. `pad` holds, for each argument, what fills the last dimension where the items of a batch differ in it; None
    where all items have one shape. `masked` is False where `module` cannot be told what is padding.
    `decode(raw, outputs)` makes the answer to a sample of the outputs [items, ...] for it; None where the output is it.
    `numbers` is False where the outputs are names, such as those of tokens: how far one is from another says nothing.
    `outputs` is the number of class logits [n, outputs], None where outputs are something else or nobody knows it, and
    `classes` what they stand for, in their order, None where nobody knows it. `order` is set where a task has the
    classes in another one: `order[k]` is the output for its class k. `remarks` are sentences that the user shall read.
    `noise(seed)` is a random item of full size; None draws the example's shapes from a normal distribution.
    """

    name: str
    module: nn.Module
    preprocess: Callable[[Any], list[Item]]
    example: Item
    weights: str
    preprocessing: str
    pad: tuple[float, ...] | None = None
    decode: Callable[[Any, Tensor], Any] | None = None
    noise: Callable[[int], Item] | None = None
    numbers: bool = True
    masked: bool = True
    outputs: int | None = None
    classes: tuple[str, ...] | None = None
    order: tuple[int, ...] | None = None
    remarks: tuple[str, ...] = ()

    def random_item(self, seed: int) -> Item:
        """An item of full size that means nothing."""
        if self.noise is not None:
            return self.noise(seed)
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(tensor.shape[1:], generator=generator) for tensor in self.example)


def one_item(preprocess: Callable[[Any], Tensor]) -> Callable[[Any], list[Item]]:
    """The `preprocess` of a network that takes one tensor a sample."""
    return lambda raw: [(preprocess(raw),)]
