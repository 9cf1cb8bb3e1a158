"""Tells residual additions from all other sums, by where the two operands come from.

A residual addition joins two paths of the network's values, of which at least one went through a layer after they
parted. A bias or a position that is added depends on no input; a mask depends on the input's shape or on a list of what
is padding; the sums inside of a GELU written by hand or of rotary positions are functions of one layer's output.
So every tensor remembers the last layer that its values went through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantbench.quant.intercept.modules import ModuleStack
from quantbench.quant.tensors import tensors

# What torch calls for every way to write an addition: `+` and `__radd__` are Tensor.add, `+=` is Tensor.add_.
ADDITIONS: frozenset[Callable[..., Any]] = frozenset({torch.add, torch.Tensor.add, torch.Tensor.add_})
TERMS = ((0, "input"), (1, "other"))

_LOOK_UPS = frozenset({F.embedding, F.embedding_bag, torch.embedding})
# They take shape and dtype of a tensor, none of its values.
_SHAPED_ALIKE = frozenset(
    {
        *(torch.zeros_like, torch.ones_like, torch.full_like, torch.empty_like, torch.rand_like, torch.randn_like),
        *(torch.Tensor.new_zeros, torch.Tensor.new_ones, torch.Tensor.new_full, torch.Tensor.new_empty),
        torch.Tensor.new_tensor,
    }
)


@dataclass(eq=False, slots=True)
class Origin:
    """Where values come from. Of values made from several tensors it is the origin of the highest rank.

    Ranks: 0 parameters and buffers, 1 not known (such as torch.arange), 2 an input of the network, 3 an input that
    layers or embeddings take, above that a layer: the later the higher.
    """

    rank: int


_CONSTANT, _UNKNOWN, _INDEX, _EMBEDDING = Origin(0), Origin(1), Origin(2), Origin(3)
_FED = 3
_numbers = count(_FED + 1)
# An attribute costs a fiftieth of a weak dictionary of tensors, and every operation reads and writes some.
_ATTRIBUTE = "_quantbench_origin"


class Origins:
    """Follows the values of one module through everything that happens to them."""

    def __init__(self, module: nn.Module) -> None:
        """Know the module's buffers, which are constants as parameters are."""
        self._buffers = {id(buffer) for buffer in module.buffers()}

    @contextmanager
    def follow(self, module: nn.Module, stack: ModuleStack) -> Iterator[None]:
        """Mark what is given to `module`, or to a part of it that is called from outside, as inputs."""

        def hook(_: nn.Module, arguments: Any, keywords: Any) -> None:
            if not stack.frames:
                for tensor in tensors((arguments, keywords)):
                    self._enter(tensor)

        handles = [child.register_forward_pre_hook(hook, with_kwargs=True) for child in module.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def is_residual(self, first: Any, second: Any, alpha: Any = 1) -> bool:
        """Whether first + alpha * second is a residual addition: of floats of one shape, on two paths."""
        if not (isinstance(first, Tensor) and isinstance(second, Tensor)) or alpha != 1:
            return False
        if first.shape != second.shape or not (first.is_floating_point() and second.is_floating_point()):
            return False
        one, other = self._of(first), self._of(second)
        return one is not other and min(one.rank, other.rank) >= _FED and max(one.rank, other.rank) > _FED

    def pass_on(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: Any, output: Any) -> None:
        """Note where the output of any function comes from."""
        if function in _SHAPED_ALIKE:
            return
        origin = self._latest((arguments, keywords))
        if function in _LOOK_UPS and origin.rank == _INDEX.rank:
            origin = _EMBEDDING
        if function is torch.Tensor.__setitem__:
            output = arguments[0]
        if origin is not _UNKNOWN:
            for tensor in tensors(output):
                self._set(tensor, origin)

    def through_layer(self, operands: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Note that the output comes from a layer; what it makes of constants alone is a constant."""
        origins = [self._of(operand) for operand in operands]
        for origin in origins:
            if origin.rank == _INDEX.rank and origin is not _INDEX:
                origin.rank = _FED
        constant = all(origin is _CONSTANT for origin in origins)
        setattr(output, _ATTRIBUTE, _CONSTANT if constant else Origin(next(_numbers)))

    def _enter(self, tensor: Tensor) -> None:
        if self._of(tensor).rank <= _FED:  # else a layer's output that comes in again
            fresh = Origin(_INDEX.rank) if tensor.is_floating_point() else _INDEX
            setattr(tensor, _ATTRIBUTE, fresh)

    def _of(self, tensor: Tensor) -> Origin:
        found: Origin | None = getattr(tensor, _ATTRIBUTE, None)
        if found is not None:
            return found
        return _CONSTANT if self._is_constant(tensor) else _UNKNOWN

    def _is_constant(self, tensor: Tensor) -> bool:
        return isinstance(tensor, nn.Parameter) or id(tensor) in self._buffers

    def _latest(self, values: Any) -> Origin:
        """The origin of highest rank of all tensors in `values`; not known where there is none."""
        latest: Origin | None = None
        for tensor in tensors(values):
            origin = self._of(tensor)
            if latest is None or origin.rank > latest.rank:
                latest = origin
        return latest or _UNKNOWN

    def _set(self, tensor: Tensor, origin: Origin) -> None:
        if not tensor.is_floating_point() and origin.rank > _INDEX.rank:
            origin = _INDEX  # what is computed from a comparison or an argmax is a mask or an index
        known: Origin | None = getattr(tensor, _ATTRIBUTE, None)
        if (known is None or known.rank < origin.rank) and not self._is_constant(tensor):
            setattr(tensor, _ATTRIBUTE, origin)
