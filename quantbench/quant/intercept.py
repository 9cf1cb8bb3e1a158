"""Sees every compute-intensive operation of any module, by name, without rewriting the module.

A TorchFunctionMode catches the operations; forward hooks tell which module is running. Attention arrives as its two
matrix multiplications, whichever way it was called.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from quantbench.quant.attention import scaled_dot_product_attention
from quantbench.quant.errors import QuantizationError
from quantbench.quant.granularity import PerChannel


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


# torch's files of modules that run no layer: to follow these too would cost time in every forward pass.
SIMPLE = frozenset(
    f"torch.nn.modules.{file}" for file in ("activation", "batchnorm", "dropout", "flatten", "normalization", "pooling")
)


class ModuleStack:
    """The names of the modules that are running now, innermost last, each with its count of operations so far."""

    def __init__(self) -> None:
        """Start outside every module."""
        self.frames: list[tuple[str, nn.Module, Counter[str]]] = []

    @contextmanager
    def follow(self, module: nn.Module, simple: frozenset[str] = frozenset()) -> Iterator[None]:
        """Keep the stack right while `module` runs; childless modules defined in a file of `simple` are passed over."""
        handles = []
        for name, child in module.named_modules():
            if type(child).__module__ in simple and not child._modules:
                continue
            handles.append(child.register_forward_pre_hook(self._enter(name)))
            handles.append(child.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.frames.clear()

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, _: Any) -> None:
            self.frames.append((name, module, Counter()))

        return hook

    def _leave(self, module: nn.Module, _: Any, __: Any) -> None:
        self.frames.pop()


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
            call = self._call(operation, func, args, kwargs)
            self.handling, before = True, self.handling
            try:
                return self._handler(call)
            finally:
                self.handling = before
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

    def _call(
        self, operation: Operation, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        def argument(place: tuple[int, str]) -> Any:
            position, keyword = place
            return args[position] if position < len(args) else kwargs.get(keyword)

        first, second = (argument(place) for place in operation.operands)
        layer = self._layer_name(operation.kind, second)
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        operands = (
            self._operand(layer, operation.kind, 0, first, groups, second),
            self._operand(layer, operation.kind, 1, second, groups, first),
        )
        bias = argument(operation.bias) if operation.bias else None
        return Call(layer, operation.kind, operands, bias, func, args, kwargs, operation)

    def _layer_name(self, kind: str, weight: Tensor) -> str:
        """The module whose `weight` is used, or the innermost module with a running number for the operation."""
        frame, module, counts = self._stack.frames[-1] if self._stack.frames else ("", None, Counter())
        if module is not None and getattr(module, "weight", None) is weight:
            return frame
        name = self._names.get(id(weight), "")
        prefix = f"{frame}." if frame else ""
        if name.endswith(".weight") and name.startswith(prefix):
            return name.removesuffix(".weight")
        number = counts[kind]
        counts[kind] += 1
        return f"{prefix}{kind}_{number}"

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


# What the operations above become below autograd. One that runs outside of every layer was not seen.
_MULTIPLYING = frozenset(
    {
        *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "addbmm", "dot", "vdot", "_addmm_activation", "_grouped_mm"),
        *("addmm_", "addmv_", "baddbmm_", "addbmm_", "_sparse_mm", "_sparse_addmm", "_scaled_mm", "linalg_multi_dot"),
        *("convolution", "_convolution", "conv_tbc", "deform_conv2d", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"),
    }
)


class _Guard(TorchDispatchMode):
    """Refuses compute-intensive operations that no layer accounts for."""

    def __init__(self, mode: _LayerMode, stack: ModuleStack) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._mode, self._stack = mode, stack

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _MULTIPLYING and not self._mode.handling:
            where = self._stack.frames[-1][0] if self._stack.frames else ""
            raise QuantizationError(
                f"{name} in module {where!r} cannot be quantized: the call that runs it is not known; write it as "
                "linear, convolution or matmul"
            )
        return func(*args, **(kwargs or {}))


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
def intercept(module: nn.Module, handler: Handler, guard: bool = False) -> Iterator[None]:
    """While this is open, every layer of `module` is executed by `handler`, which returns the layer's output.

    Layers are named by the module whose weight they use (`layer3.0.conv1`) or, where there is none, by the innermost
    module and a running number (`encoder.layer.0.attention.self.matmul_0`).

    Raises:
        QuantizationError: (on running the module) an operation such as einsum or LSTM cannot be seen through.
    """
    stack = ModuleStack()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        mode = _LayerMode(module, stack, handler)
        with stack.follow(module, SIMPLE), mode, _Guard(mode, stack) if guard else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
