"""Sees every compute-intensive operation of any module, by name, without rewriting the module.

A TorchFunctionMode catches the operations; forward hooks tell which module is running. Attention arrives as its two
matrix multiplications, whichever way it was called.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from quantbench.quant import QuantizationError
from quantbench.quant.granularity import PerChannel
from quantbench.quant.intercept.attention import scaled_dot_product_attention
from quantbench.quant.intercept.guard import Guard
from quantbench.quant.intercept.modules import SIMPLE, ModuleStack
from quantbench.quant.intercept.residual import ADDITIONS, TERMS, Origins


@dataclass(frozen=True)
class Operand:
    """One operand of a layer's execution. `channel` is set for weights: the granularity "per channel" of this one."""

    site: str
    name: str
    tensor: Tensor
    channel: PerChannel | None

    @property
    def is_weight(self) -> bool:
        """True for weights, whose range needs no data."""
        return self.channel is not None


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
}

# Compute-intensive, but not to be seen through: an error is better than a layer left in float unnoticed.
OPAQUE: frozenset[Callable[..., Any]] = frozenset(
    {torch.einsum, torch.tensordot, torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu, F.bilinear, torch.mv}
)


class _LayerMode(TorchFunctionMode):
    def __init__(self, module: nn.Module, stack: ModuleStack, handler: Handler) -> None:
        super().__init__()
        self._stack = stack
        self._handler = handler
        self.handling = False
        self._storages = {p.untyped_storage().data_ptr() for p in module.parameters()} - {0}
        self._names = {id(p): name for name, p in module.named_parameters()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if operation := OPERATIONS.get(func):
            return self._handle(self._call(operation, func, args, kwargs))
        if expansion := _EXPANSIONS.get(func):
            with self:
                return expansion(*args, **kwargs)
        if func in OPAQUE:
            where = self._stack.frames[-1][0] if self._stack.frames else ""
            raise QuantizationError(
                f"{func.__name__} in module {where!r} cannot be quantized: its operands are not visible; write it as "
                "linear, convolution or matmul"
            )
        return func(*args, **kwargs)

    def _handle(self, call: Call) -> Tensor:
        self.handling, before = True, self.handling
        try:
            return self._handler(call)
        finally:
            self.handling = before

    def _call(
        self, operation: Operation, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        first, second = (_argument(place, args, kwargs) for place in operation.operands)
        layer = self._layer_name(operation.kind, second)
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        operands = (
            self._operand(layer, operation.kind, 0, first, groups, second),
            self._operand(layer, operation.kind, 1, second, groups, first),
        )
        bias = _argument(operation.bias, args, kwargs) if operation.bias else None
        return Call(layer, operation.kind, operands, bias, func, args, kwargs, operation)

    def _layer_name(self, kind: str, weight: Tensor) -> str:
        """The module whose `weight` is used, or the innermost module with a running number for the operation."""
        frame, module = self._stack.frames[-1][:2] if self._stack.frames else ("", None)
        if module is not None and getattr(module, "weight", None) is weight:
            return frame
        name = self._names.get(id(weight), "")
        prefix = f"{frame}." if frame else ""
        if name.endswith(".weight") and name.startswith(prefix):
            return name.removesuffix(".weight")
        return self._numbered(kind)

    def _numbered(self, kind: str) -> str:
        """The innermost module with a running number for its operations of this kind."""
        if not self._stack.frames:
            return f"{kind}_0"
        frame, _, counts = self._stack.frames[-1]
        counts[kind] += 1
        return f"{frame}." * bool(frame) + f"{kind}_{counts[kind] - 1}"

    def _is_parameter(self, tensor: Tensor) -> bool:
        """True for a matrix of parameters or a view of one, such as `weight.t()`."""
        return tensor.ndim > 1 and (
            isinstance(tensor, nn.Parameter) or tensor.untyped_storage().data_ptr() in self._storages
        )

    def _operand(self, layer: str, kind: str, index: int, tensor: Tensor, groups: int, other: Tensor) -> Operand:
        if kind == "matmul":
            # A parameter is a weight on either side; its channels are what the multiplication does not sum over.
            channel = PerChannel(-1 if index else -2) if self._is_parameter(tensor) else None
            name = "weight" if channel and not self._is_parameter(other) else ("lhs", "rhs")[index]
        else:
            transposed = kind.startswith("conv_transpose")
            channel = (PerChannel(1, groups) if transposed else PerChannel(0)) if index else None
            name = ("input", "weight")[index]
        return Operand(f"{layer}.{name}", name, tensor, channel)


class _ResidualMode(_LayerMode):
    """Residual additions are layers too. They are told from other sums by following all values, which takes time."""

    def __init__(self, module: nn.Module, stack: ModuleStack, handler: Handler, origins: Origins) -> None:
        super().__init__(module, stack, handler)
        self._origins = origins
        self._in_attention = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in ADDITIONS and not self._in_attention:
            first, second = (_argument(place, args, kwargs) for place in TERMS)
            if self._origins.is_residual(first, second, kwargs.get("alpha", 1)):
                return self._handle(self._addition(func, first, second, args, kwargs))
        self._in_attention, before = self._in_attention or func in _EXPANSIONS, self._in_attention
        try:
            output = super().__torch_function__(func, types, args, kwargs)
        finally:
            self._in_attention = before
        self._origins.pass_on(func, args, kwargs, output)
        return output

    def _handle(self, call: Call) -> Tensor:
        output = super()._handle(call)
        self._origins.through_layer((call.operands[0].tensor, call.operands[1].tensor), output)
        return output

    def _addition(
        self, func: Callable[..., Any], first: Tensor, second: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        layer = self._numbered("add")
        operands = (Operand(f"{layer}.lhs", "lhs", first, None), Operand(f"{layer}.rhs", "rhs", second, None))
        function = partial(_add_into, first) if func is torch.Tensor.add_ else func
        return Call(layer, "add", operands, None, function, args, kwargs, Operation("add", TERMS))


def _add_into(target: Tensor, input: Tensor, other: Tensor, **_: Any) -> Tensor:
    """The sum of quantized operands, written into the tensor that the network goes on with."""
    if torch.is_grad_enabled():
        return target.copy_(torch.add(input, other))
    return torch.add(input, other, out=target)


def _argument(place: tuple[int, str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    position, keyword = place
    return args[position] if position < len(args) else kwargs.get(keyword)


def _without_dispatch(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same code without its first look for overrides, so that its inside runs under the mode."""
    assert isinstance(function, types.FunctionType)
    seen_through = dict(function.__globals__, has_torch_function=lambda _: False)
    return types.FunctionType(
        function.__code__, seen_through, function.__name__, function.__defaults__, function.__closure__
    )


_EXPANSIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    F.multi_head_attention_forward: _without_dispatch(F.multi_head_attention_forward),
}


@contextmanager
def intercept(module: nn.Module, handler: Handler, guard: bool = False, residual_adds: bool = False) -> Iterator[None]:
    """While this is open, every layer of `module` is executed by `handler`, which returns the layer's output.

    Layers are named by the module whose weight they use (`layer3.0.conv1`) or, where there is none, by the innermost
    module and a running number (`encoder.layer.0.attention.self.matmul_0`). With `residual_adds` residual additions
    are layers of the kind `add` (`layer3.0.add_0`); residual.py says which additions these are.

    Raises:
        QuantizationError: (on running the module) an operation such as einsum or LSTM cannot be seen through.
    """
    stack = ModuleStack()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        origins = Origins(module) if residual_adds else None
        mode = _ResidualMode(module, stack, handler, origins) if origins else _LayerMode(module, stack, handler)
        with ExitStack() as opened:
            if origins:
                opened.enter_context(origins.follow(module, stack))  # before the stack, to see when it is empty
            opened.enter_context(stack.follow(module, SIMPLE))
            opened.enter_context(mode)
            if guard:
                opened.enter_context(Guard(stack, lambda: mode.handling))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
