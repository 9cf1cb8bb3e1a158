"""Functions of several steps, written as the products that they are made of."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantbench.quant.intercept.attention import scaled_dot_product_attention


class Hidden(Exception):
    """A function is called in a way that is not seen through; the text is why."""


def einsum(equation: str, *operands: Any) -> Tensor:
    """torch.einsum of two tensors as one product of matrices, a permutation of torch.matmul.

    Where nothing is summed over, it is no product of matrices but one by element, and no layer.

    Raises:
        Hidden: there are more than two operands.
    """
    given: Sequence[Tensor] = operands[0] if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands
    if len(given) == 1:
        return _einsum_of_one(equation, given[0])
    if len(given) > 2:
        raise Hidden("it multiplies more than two tensors; write it as products of two")
    inputs, _, output = equation.replace(" ", "").partition("->")
    first, second = inputs.split(",")
    dots = max(t.ndim - len(s.replace("...", "")) for t, s in zip(given, (first, second), strict=True))
    spare = [chr(c) for c in range(0x100, 0x100 + dots)]  # a letter for each dimension that "..." stands for
    labels = [
        _spelled(subscripts, tensor.ndim - len(subscripts.replace("...", "")), spare)
        for subscripts, tensor in zip((first, second), given, strict=True)
    ]
    if "->" in equation:
        wanted = _spelled(output, dots if "..." in output else 0, spare)
    else:
        once = sorted(x for x in set(first + second) - {"."} if (first + second).count(x) == 1)
        wanted = [*(spare if "..." in inputs else []), *once]
    return _product(given[0], labels[0], given[1], labels[1], wanted)


def _spelled(subscripts: str, dots: int, spare: list[str]) -> list[str]:
    before, _, after = subscripts.partition("...")
    return [*before, *(spare[len(spare) - dots :] if "..." in subscripts else []), *after]


def _einsum_of_one(equation: str, tensor: Tensor) -> Tensor:
    return torch._VF.einsum(equation, [tensor])  # type: ignore[attr-defined,no-any-return]


def _alone(tensor: Tensor, labels: list[str], kept: set[str]) -> tuple[Tensor, list[str]]:
    """The diagonal of labels that come twice, and the sum over those that are not kept."""
    if len(set(labels)) < len(labels):
        unique = list(dict.fromkeys(labels))
        letters = {label: chr(ord("a") + i) for i, label in enumerate(unique)}
        equation = f"{''.join(letters[x] for x in labels)}->{''.join(letters[x] for x in unique)}"
        tensor, labels = _einsum_of_one(equation, tensor), unique
    gone = [i for i, label in enumerate(labels) if label not in kept]
    return (tensor.sum(gone) if gone else tensor), [label for label in labels if label in kept]


def _product(first: Tensor, one: list[str], second: Tensor, other: list[str], wanted: list[str]) -> Tensor:
    """The sum over all labels that are not wanted of the product by element of two tensors."""
    first, one = _alone(first, one, {*other, *wanted})
    second, other = _alone(second, other, {*one, *wanted})
    sizes = dict.fromkeys((*one, *other), 1)
    for label, size in (*zip(one, first.shape, strict=True), *zip(other, second.shape, strict=True)):
        sizes[label] = max(sizes[label], size) if size and sizes[label] else 0
    shared = [x for x in one if x in other and x in wanted]
    summed = [x for x in one if x in other and x not in wanted]
    rows, columns = [x for x in one if x not in other], [x for x in other if x not in one]
    if not summed:
        aligned = (_ordered(t, labels, wanted) for t, labels in ((first, one), (second, other)))
        return torch.mul(*aligned)
    left = _grouped(first, one, (shared, rows, summed), sizes)
    right = _grouped(second, other, (shared, summed, columns), sizes)
    order = [*shared, *rows, *columns]
    output = torch.matmul(left, right).reshape([sizes[x] for x in order])
    return output.permute([order.index(x) for x in wanted])


def _ordered(tensor: Tensor, labels: list[str], wanted: list[str]) -> Tensor:
    """The dimensions in the order wanted, those that it has not of size 1."""
    tensor = tensor.permute([labels.index(x) for x in wanted if x in labels])
    return tensor[tuple(slice(None) if x in labels else None for x in wanted)]


def _grouped(
    tensor: Tensor, labels: list[str], groups: tuple[list[str], list[str], list[str]], sizes: dict[str, int]
) -> Tensor:
    """Permuted to [*shared, product of the second group, product of the third]."""
    shared, second, third = groups
    order = [*shared, *second, *third]
    tensor = tensor.permute([labels.index(x) for x in order])
    same = [tensor.shape[i] for i in range(len(shared))]
    tensor = tensor.expand(*same, *(sizes[x] for x in (*second, *third)))
    lengths = [_length(group, sizes) for group in (second, third)]
    return tensor.reshape(*same, *lengths)


def _length(labels: list[str], sizes: dict[str, int]) -> int:
    length = 1
    for label in labels:
        length *= sizes[label]
    return length


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """torch.tensordot as one product of matrices.

    Raises:
        Hidden: it is written into a given tensor.
    """
    if out is not None:
        raise Hidden("it writes into a given tensor; leave `out` away")
    if isinstance(dims, int):
        dims = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    elif isinstance(dims, Tensor):
        dims = dims.tolist()
    pairs = [(x % a.ndim, y % b.ndim) for x, y in zip(*([d] if isinstance(d, int) else d for d in dims), strict=True)]
    one, other = [f"a{i}" for i in range(a.ndim)], [f"b{i}" for i in range(b.ndim)]
    for i, j in pairs:
        other[j] = one[i]
    wanted = [x for i, x in enumerate(one) if i not in [p for p, _ in pairs]] + [x for x in other if x not in one]
    return _product(a, one, b, other, wanted)


def grouped_mm(
    input: Tensor, weight: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: Any = None
) -> Tensor:
    """The products of groups of rows, each with a matrix of its own (torch._grouped_mm): [rows, out].

    Raises:
        Hidden: it is called in another way than by experts: rows [rows, in], matrices [groups, in, out], ends [groups].
    """
    if offs is None or input.ndim != 2 or weight.ndim != 3 or bias is not None:
        raise Hidden("only groups of rows with a matrix each are seen through; choose the implementation eager")
    parts, start = [], 0
    for group, end in enumerate(offs.tolist()):
        if end > start:
            parts.append(torch.matmul(input[start:end], weight[group]))
        start = end
    parts.append(input.new_zeros(input.shape[0] - start, weight.shape[-1]))
    return torch.cat(parts).to(out_dtype or input.dtype)


def _without_dispatch(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same code without its first look for overrides, so that its inside runs under the mode."""
    assert isinstance(function, types.FunctionType)
    seen_through = dict(function.__globals__, has_torch_function=lambda _: False)
    return types.FunctionType(
        function.__code__, seen_through, function.__name__, function.__defaults__, function.__closure__
    )


EXPANSIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    F.multi_head_attention_forward: _without_dispatch(F.multi_head_attention_forward),
    torch.einsum: einsum,
    torch.tensordot: tensordot,
    torch._grouped_mm: grouped_mm,
}
