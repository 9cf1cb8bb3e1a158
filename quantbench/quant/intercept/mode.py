"""Sees every compute-intensive operation of any module, by name, without rewriting the module.

A TorchFunctionMode catches the operations; forward hooks tell which module is running. Attention arrives as its two
matrix multiplications, whichever way it was called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode

from quantbench.quant import QuantizationError
from quantbench.quant.granularity import PerChannel
from quantbench.quant.intercept.constants import Constants
from quantbench.quant.intercept.expansions import EXPANSIONS, Hidden
from quantbench.quant.intercept.guard import Guard
from quantbench.quant.intercept.modules import SIMPLE, ModuleStack, parametrized_by, refuse_hidden
from quantbench.quant.intercept.names import Names, Places
from quantbench.quant.intercept.operations import OPAQUE, OPERATIONS, Call, Operand, Operation
from quantbench.quant.intercept.residual import ADDITIONS, TERMS, Origins

Handler = Callable[[Call], Tensor]


class _LayerMode(TorchFunctionMode):
    def __init__(self, module: nn.Module, stack: ModuleStack, handler: Handler, learn: bool, guarded: bool) -> None:
        super().__init__()
        self._stack = stack
        self._handler = handler
        self._learn, self._guarded = learn, guarded
        self.handling = False
        self._owners = {id(p): name for name, p in module.named_parameters()}
        self._constants = Constants(module)
        self._names = Names.of(module)
        self._places = Places(__file__, _LayerMode._handle.__code__)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self._stack.frames:  # what prepares the network's inputs is none of its layers
            return self._unseen(func, args, kwargs)
        if expansion := EXPANSIONS.get(func):
            with self:
                return self._expanded(expansion, func, args, kwargs)
        operation = OPERATIONS.get(func)
        if operation and not self._makes_weight(operation, args, kwargs):
            output = self._handle(self._call(operation, func, args, kwargs))
        elif operation or ((self._guarded or func in OPAQUE) and self._constants.are(args, kwargs)):
            # What is made of constants alone is no layer but part of a weight, as spectral norm's sigma is.
            output = self._unseen(func, args, kwargs)
        elif func in OPAQUE:
            raise self._refusal(
                func.__name__, "its operands are not visible; write it as linear, convolution or matmul"
            )
        else:
            output = func(*args, **kwargs)
        self._constants.pass_on(func, args, kwargs, output)
        return output

    def _unseen(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.handling, before = True, self.handling
        try:
            return func(*args, **kwargs)
        finally:
            self.handling = before

    def _expanded(self, expansion: Callable[..., Any], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return expansion(*args, **kwargs)
        except Hidden as error:
            raise self._refusal(func.__name__, str(error)) from error

    def _refusal(self, what: str, why: str) -> QuantizationError:
        return QuantizationError(f"{what} in module {self._stack.innermost!r} cannot be quantized: {why}")

    def _makes_weight(self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a product is no layer but a step on the way from parameters to a weight.

        That are those of a parametrization, and of constants with a vector, such as spectral norm's estimate of sigma.
        """
        if "parametrizations" in self._stack.innermost.split("."):
            return True
        factors = [_argument(place, args, kwargs) for place in operation.operands]
        return operation.kind == "matmul" and any(t.ndim == 1 for t in factors) and self._constants.are(args, kwargs)

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
        if is_functorch_wrapped_tensor(first) or is_functorch_wrapped_tensor(second):
            raise self._refusal("vmap or another transform of torch.func", "write it as operations on whole batches")
        kind, layer = operation.kind, self._layer_name(operation.kind, second)
        if kind == "matmul":
            operands = self._factors(layer, first, second)
        else:
            transposed = kind.startswith("conv_transpose")
            groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
            channel = PerChannel(1, groups) if transposed else PerChannel(0)
            operands = (
                Operand(f"{layer}.input", "input", first, None, "", self._names),
                self._operand(f"{layer}.weight", "weight", second, channel, self._constants.parameter(second)),
            )
        bias = _argument(operation.bias, args, kwargs) if operation.bias else None
        return Call(layer, kind, operands, bias, func, args, kwargs, operation)

    def _factors(self, layer: str, first: Tensor, second: Tensor) -> tuple[Operand, Operand]:
        """The operands of a product: a matrix of parameters is a weight on either side."""
        parameters = [self._constants.parameter(t) if t.ndim > 1 else "" for t in (first, second)]
        operands = []
        for index, tensor in enumerate((first, second)):
            name = "weight" if parameters[index] and not parameters[1 - index] else ("lhs", "rhs")[index]
            if tensor.ndim > 1:  # a vector has no channels
                # Channels are what the multiplication does not sum over.
                channel = PerChannel(-1 if index else -2, stacked=tensor.ndim > 2)
                operands.append(self._operand(f"{layer}.{name}", name, tensor, channel, parameters[index]))
            else:
                operands.append(Operand(f"{layer}.{name}", name, tensor, None, "", self._names))
        return operands[0], operands[1]

    def _operand(self, base: str, name: str, tensor: Tensor, channel: PerChannel, parameter: str) -> Operand:
        """A parameter is a weight, and so is what was made of constants and is the same in every pass."""
        if parameter:
            return Operand(base, name, tensor, channel, parameter, self._names)
        if base not in self._names.varying:
            made = self._constants.computed(tensor)
            steady = made is not None and self._names.is_steady(base, *made)
            if made is not None and (steady or not self._learn):
                return Operand(base, name, tensor, channel, made[0], self._names, steady)
            if self._learn:
                self._names.vary(base)
        return Operand(base, name, tensor, None, "", self._names)

    def _layer_name(self, kind: str, weight: Tensor) -> str:
        """The module whose `weight` is used, or the innermost module with a number for the place of the operation."""
        frame, module = self._stack.frames[-1]
        computes = isinstance(getattr(type(module), "weight", None), property)  # as a parametrization does
        if not computes and getattr(module, "weight", None) is weight:
            return frame
        prefix = f"{frame}." if frame else ""
        owner = parametrized_by(weight) or self._owners.get(id(weight), "")
        if f".{owner}".endswith(".weight") and owner.startswith(prefix):
            return owner.removesuffix("weight").removesuffix(".")
        return self._numbered(kind)

    def _numbered(self, kind: str) -> str:
        """The innermost module with the number, among its operations of this kind, of the place that runs now."""
        frame, module = self._stack.frames[-1]
        name = f"{frame}." * bool(frame) + kind
        return f"{name}_{self._names.number(name, self._places.here(module))}"


class _ResidualMode(_LayerMode):
    """Residual additions are layers too. They are told from other sums by following all values, which takes time."""

    def __init__(
        self, module: nn.Module, stack: ModuleStack, handler: Handler, learn: bool, guarded: bool, origins: Origins
    ) -> None:
        super().__init__(module, stack, handler, learn, guarded)
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
        self._in_attention, before = self._in_attention or func in EXPANSIONS, self._in_attention
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
        operands = (
            Operand(f"{layer}.lhs", "lhs", first, None, "", self._names),
            Operand(f"{layer}.rhs", "rhs", second, None, "", self._names),
        )
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


@contextmanager
def intercept(
    module: nn.Module, handler: Handler, guard: bool = False, residual_adds: bool = False, learn: bool = True
) -> Iterator[None]:
    """While this is open, every layer of `module` is executed by `handler`, which returns the layer's output.

    Layers are named by the module whose weight they use (`layer3.0.conv1`) or, where there is none, by the innermost
    module and a number for the place in its code (`encoder.layer.0.attention.self.matmul_0`). With `residual_adds`
    residual additions are layers of the kind `add` (`layer3.0.add_0`); residual.py says which additions these are.
    What is computed of parameters alone is a weight; without `learn` what the passes before found to vary decides.

    Raises:
        QuantizationError: the module is compiled or scripted; or (on running it) an operation such as an LSTM cannot be
            seen through.
    """
    refuse_hidden(module)
    stack = ModuleStack()
    origins = Origins(module) if residual_adds else None
    mode = (
        _ResidualMode(module, stack, handler, learn, guard, origins)
        if origins
        else _LayerMode(module, stack, handler, learn, guard)
    )
    with slow_path(), ExitStack() as opened:
        if origins:
            opened.enter_context(origins.follow(module, stack))  # before the stack, to see when it is empty
        opened.enter_context(stack.follow(module, SIMPLE))
        opened.enter_context(mode)
        if guard:
            opened.enter_context(Guard(stack, lambda: mode.handling))
        yield


@contextmanager
def slow_path() -> Iterator[None]:
    """While this is open, torch's transformer layers compute in float what they compute while they are intercepted.

    Their fused path gives other values at padded places.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
