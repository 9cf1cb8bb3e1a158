"""Random weights: decided by a seed alone, and, as far as sizes go, like those of a trained network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SAMPLES = 4

Module = TypeVar("Module", bound=nn.Module)


def seeded(builder: Callable[[], Module], seed: int) -> Module:
    """The module that `builder` makes, its random weights decided by `seed`; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder()


def settle_batch_norm(module: nn.Module, example: tuple[Tensor, ...], seed: int) -> None:
    """Set the running statistics of every batch normalization to those of noise that `seed` draws.

    With the statistics of a new module, 0 and 1, activations shrink from layer to layer until nothing is left to
    quantize: a structure run would say nothing of noise, and zeros are quantized faster than values.
    """
    norms = [child for child in module.modules() if isinstance(child, _BatchNorm) and child.track_running_stats]
    if not norms or not example[0].is_floating_point():
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average, here of one batch
        norm.reset_running_stats()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        others = (tensor.expand(SAMPLES, *tensor.shape[1:]) for tensor in example[1:])
        module.train()(torch.randn(SAMPLES, *example[0].shape[1:]), *others)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
