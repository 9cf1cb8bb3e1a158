"""The operations that are layers: how they are called, and one execution of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantbench.quant.granularity import PerChannel
from quantbench.quant.intercept.names import Names, is_computed


@dataclass(frozen=True)
class Operand:
    """One operand of a layer's execution.

    `identity` tells which weight it is, of those met at this site; "" for an activation. `channel` is set for weights:
    the granularity "per channel" of this one. `steady` is False where a computed weight is not what it was before.
    """

    base: str
    name: str
    tensor: Tensor
    channel: PerChannel | None
    identity: str
    names: Names = field(repr=False, compare=False)
    steady: bool = True

    @property
    def site(self) -> str:
        """The name of the site."""
        return self.names.site(self.base, self.identity)

    @property
    def is_weight(self) -> bool:
        """True for weights, whose range needs no data."""
        return self.channel is not None

    @property
    def is_parameter(self) -> bool:
        """True for a weight that is a parameter or a view of one."""
        return self.is_weight and not is_computed(self.identity)


@dataclass(frozen=True)
class Operation:
    """How a torch function is called: the positions and keywords of its two operands and of what it adds to them."""

    kind: str
    operands: tuple[tuple[int, str], tuple[int, str]]
    bias: tuple[int, str] | None = None


@dataclass(frozen=True)
class Call:
    """One execution of a layer. `run` executes it, on its own operands unless others are given."""

    layer: str
    kind: str
    operands: tuple[Operand, Operand]
    bias: Tensor | None
    function: Callable[..., Tensor]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    operation: Operation

    def run(self, first: Tensor | None = None, second: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """The operation's output; an operand or bias that is given replaces the layer's own."""
        arguments, keywords = list(self.arguments), dict(self.keywords)
        places = (*self.operation.operands, self.operation.bias)
        for place, tensor in zip(places, (first, second, bias), strict=True):
            if tensor is None or place is None:
                continue
            position, keyword = place
            if position < len(arguments):
                arguments[position] = tensor
            else:
                keywords[keyword] = tensor
        return self.function(*arguments, **keywords)


Handler = Callable[[Call], Tensor]

_WEIGHTED = ((0, "input"), (1, "weight"))
_BIAS = (2, "bias")


def _matmul(first: str = "input", second: str = "other", start: int = 0, added: bool = False) -> Operation:
    bias = (0, "input") if added else None
    return Operation("matmul", ((start, first), (start + 1, second)), bias)


OPERATIONS: dict[Callable[..., Any], Operation] = {
    **{
        getattr(F, kind): Operation(kind, _WEIGHTED, _BIAS)
        for kind in (
            *("conv1d", "conv2d", "conv3d"),
            *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"),
        )
    },
    torch.matmul: _matmul(),
    torch.Tensor.matmul: _matmul(),
    torch.Tensor.__matmul__: _matmul(),
    torch.Tensor.__rmatmul__: Operation("matmul", ((1, "other"), (0, "input"))),
    torch.linalg.matmul: _matmul(),
    torch.mm: _matmul(second="mat2"),
    torch.Tensor.mm: _matmul(second="mat2"),
    torch.bmm: _matmul(second="mat2"),
    torch.Tensor.bmm: _matmul(second="mat2"),
    torch.addmm: _matmul("mat1", "mat2", start=1, added=True),
    torch.Tensor.addmm: _matmul("mat1", "mat2", start=1, added=True),
    torch.baddbmm: _matmul("batch1", "batch2", start=1, added=True),
    torch.Tensor.baddbmm: _matmul("batch1", "batch2", start=1, added=True),
    torch.mv: _matmul(second="vec"),
    torch.Tensor.mv: _matmul(second="vec"),
}

# Compute-intensive, but not to be seen through: an error is better than a layer left in float unnoticed.
OPAQUE: frozenset[Callable[..., Any]] = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu, F.bilinear})
