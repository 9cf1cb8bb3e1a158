"""What a backend gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Execution:
    """A quantized network that can be run.

    `run(*batch)` takes the arguments of one forward pass and gives its output, as the module would. `engine` names what
    computes, with its version; `int8_layers` is the number of layers that it computes in integers.
    """

    run: Callable[..., Tensor]
    engine: str
    int8_layers: int
