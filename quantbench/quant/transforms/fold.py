"""Folds batch normalization into the layer before it (section 3.3 of the paper).

W' = W * gamma / sqrt(var + eps) for each output channel, b' = (b - mean) * gamma / sqrt(var + eps) + beta.
What can be folded is seen by running the module; pairs.py says how.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from quantbench.errors import in_one_line, ran_out
from quantbench.quant import QuantizationError
from quantbench.quant.granularity import split_groups
from quantbench.quant.tensors import tensors
from quantbench.quant.transforms.pairs import Pair, Place, find_pairs, fresh, is_norm

_ROUNDING = 1e-4
"""Relative difference of two answers up to which nobody asks where it comes from."""
_MAGNIFIED = 100
"""So many times the difference that a change of all weights in their last bits makes may folding make too."""


def fold_batch_norm(
    module: nn.Module, *example: Any, more: Iterable[tuple[Any, ...]] = ()
) -> tuple[nn.Module, list[tuple[str, str]]]:
    """A copy of `module` (in eval mode) with batch normalization folded, and the names of the folded pairs.

    A pair is folded where a convolution or linear layer took a parameter itself as its weight, nothing else uses this
    parameter, and its output goes into the normalization and nowhere else, in the runs on the example and on `more`
    arguments. All else stays as it is.

    Raises:
        QuantizationError: the module cannot be copied; or the copy answers otherwise than the module, beyond rounding.
    """
    folded = copied(module).eval()
    if not any(is_norm(child) for child in folded.modules()):
        return folded, []
    runs = [example, *more]
    pairs = find_pairs(folded, runs)
    for pair in pairs:
        norm = folded.get_submodule(pair.norm)
        _absorb(pair, norm)
        remainder = _remainder(norm)
        for parent in list(folded.modules()):  # it may be registered under several names
            for child, value in list(parent._modules.items()):
                if value is norm:
                    setattr(parent, child, remainder)
    if pairs:
        _check(module, folded, runs)
    return folded, [(pair.layer, pair.norm) for pair in pairs]


def copied(module: nn.Module) -> nn.Module:
    """A deep copy. Tensors that a module keeps beside its parameters, such as the product of weight_norm, are detached.

    Raises:
        QuantizationError: it cannot be copied.
    """
    kept = [tensor for child in module.modules() for tensor in tensors(vars(child)) if not _is_plain(tensor)]
    try:
        return copy.deepcopy(module, {id(tensor): tensor.detach().clone() for tensor in kept})
    except Exception as error:
        if ran_out(error):
            raise
        raise QuantizationError(f"{type(module).__name__} cannot be copied ({in_one_line(error)})") from error


def _is_plain(tensor: Tensor) -> bool:
    """True where deepcopy takes the tensor."""
    return isinstance(tensor, nn.Parameter) or (tensor.is_leaf and not tensor.is_inference())


def _remainder(norm: nn.Module) -> nn.Module:
    """What is left of a normalization once its arithmetic is gone: nothing, or timm's dropout and activation."""
    rest = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()


@torch.no_grad()
def _absorb(pair: Pair, norm: Any) -> None:
    """Put the arithmetic of `norm` into the weight and bias of a pair, in float64."""
    gamma = torch.ones_like(norm.running_var, dtype=torch.float64) if norm.weight is None else norm.weight.double()
    beta = torch.zeros_like(norm.running_var, dtype=torch.float64) if norm.bias is None else norm.bias.double()
    factor = gamma / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = pair.weight.tensor.double()
    if pair.transposed:
        groups = len(factor) // weight.shape[1]
        by_block = factor.view(groups, 1, -1, *[1] * (weight.ndim - 2))
        weight = (split_groups(weight, groups) * by_block).flatten(0, 1)
    else:
        weight = weight * factor.view(-1, *[1] * (weight.ndim - 1))
    _put(pair.bias, (pair.bias.tensor.double() - norm.running_mean.double()) * factor + beta)
    _put(pair.weight, weight)


def _put(place: Place, value: Tensor) -> None:
    old = place.tensor
    place.module._parameters[place.name] = nn.Parameter(value.to(old.dtype), requires_grad=old.requires_grad)


@torch.no_grad()
def _check(module: nn.Module, folded: nn.Module, runs: Iterable[tuple[Any, ...]]) -> None:
    """Run both. Where a network magnifies rounding, what its weights' last bits change says how much."""
    before, nudged = copied(module).eval(), None
    for run in runs:
        try:
            difference = _difference(before, folded, run)
        except Exception as error:
            if ran_out(error):
                raise
            said = f"batch normalization cannot be folded: the folded copy does not run ({in_one_line(error)})"
            raise QuantizationError(said) from error
        if difference <= _ROUNDING:
            continue
        nudged = nudged or _nudged(before)
        if not difference <= _MAGNIFIED * _difference(before, nudged, run):
            raise QuantizationError(
                f"batch normalization cannot be folded: the folded copy answers otherwise, by {difference:.2g} of what "
                "the network says in float"
            )


def _difference(module: nn.Module, other: nn.Module, run: tuple[Any, ...]) -> float:
    """The norm of the difference of what two modules answer over the norm of what the first does."""
    first, second = _answers(module, run), _answers(other, run)
    if [tensor.shape for tensor in first] != [tensor.shape for tensor in second]:
        return torch.inf
    if not all(torch.equal(a.isfinite(), b.isfinite()) for a, b in zip(first, second, strict=True)):
        return torch.inf
    size = sum(float(a[a.isfinite()].square().sum()) for a in first) ** 0.5
    apart = sum(float((a - b)[a.isfinite()].square().sum()) for a, b in zip(first, second, strict=True)) ** 0.5
    return apart / size if size else torch.inf if apart else 0.0


def _answers(module: nn.Module, run: tuple[Any, ...]) -> list[Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [tensor.double() for tensor in tensors(module(*fresh(run))) if tensor.is_floating_point()]


def _nudged(module: nn.Module) -> nn.Module:
    """A copy whose parameters differ in their last bits."""
    nudged = copied(module)
    generator = torch.Generator().manual_seed(0)
    for parameter in nudged.parameters():
        if parameter.is_floating_point():
            up = torch.randint(2, parameter.shape, generator=generator).to(parameter) * 2 - 1
            parameter.data = parameter.data * (1 + torch.finfo(parameter.dtype).eps * up)
    return nudged
