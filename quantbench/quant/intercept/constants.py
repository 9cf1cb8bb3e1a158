"""Tells what is made of parameters and constants alone from what depends on the network's inputs.

Every tensor that is made of constants by functions that were seen carries how it was made. What was made otherwise is
not known to be constant, and is taken for an activation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from quantbench.quant.tensors import tensors

# An attribute costs a fiftieth of a weak dictionary of tensors.
_ATTRIBUTE = "_quantbench_constant"
_RANDOM = frozenset(
    {
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli"),
        *("multinomial", "poisson", "dropout", "native_dropout", "alpha_dropout", "feature_dropout", "rrelu"),
        *("normal_", "uniform_", "random_", "exponential_", "log_normal_", "cauchy_", "geometric_", "bernoulli_"),
    }
)
_PLAIN = (
    str,
    int,
    bool,
    slice,
    type(None),
    type(Ellipsis),
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)


class _Memory:
    """What several views share: whether an input was written into it, and else what was."""

    __slots__ = ("constant", "history")

    def __init__(self) -> None:
        self.constant, self.history = True, ""


class _Made:
    """How a constant was made: `how` of which tensors with which numbers, `value` tells the numbers that are floats."""

    __slots__ = ("how", "memory", "value")

    def __init__(self, how: str, value: str, memory: _Memory) -> None:
        self.how, self.value, self.memory = how, value, memory


class _Varying(Exception):
    """A value that is not known to be constant."""


class Constants:
    """The constants of one module: its parameters and buffers, tensors that it holds, and what is made of them."""

    def __init__(self, module: nn.Module) -> None:
        """Know what `module` holds now."""
        self._own: dict[int, tuple[Tensor, _Made]] = {}
        self._parameters: dict[int, tuple[str, Tensor]] = {}  # by the address of their memory
        memories: dict[int, _Memory] = {}
        for name, tensor, is_parameter in _held(module):
            if id(tensor) in self._own:
                continue
            address = _address(tensor)
            memory = memories.setdefault(address, _Memory()) if address else _Memory()
            self._own[id(tensor)] = tensor, _Made(name, "", memory)
            if is_parameter and address:
                self._parameters.setdefault(address, (name, tensor))

    def parameter(self, tensor: Tensor) -> str:
        """What names a parameter or a view of one; "" for any other tensor, or where an input was written into it."""
        own = self._own.get(id(tensor))
        if own is not None and isinstance(tensor, nn.Parameter):
            return own[1].how if own[1].memory.constant else ""
        if isinstance(tensor, nn.Parameter):  # held by no module
            self._own[id(tensor)] = tensor, _Made(f"parameter {id(tensor)}", "", _Memory())
            return self._own[id(tensor)][1].how
        found = self._parameters.get(_address(tensor))
        if found is None:
            return ""
        name, whole = found
        if not self._own[id(whole)][1].memory.constant:
            return ""
        frame = tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
        if frame == (whole.storage_offset(), tuple(whole.shape), whole.stride()):
            return name
        return f"{name} {frame[0]} {list(frame[1])} {list(frame[2])}"

    def computed(self, tensor: Tensor) -> tuple[str, str] | None:
        """How a constant that is no parameter was made: what it is made of, and with which numbers."""
        made = self._made(tensor)
        return None if made is None else ("=" + _short(made.how + made.memory.history), _short(made.value))

    def are(self, arguments: Any, keywords: Any) -> bool:
        """Whether all tensors among the arguments, of which there is one at least, are constants."""
        found = list(tensors((arguments, keywords)))
        return bool(found) and all(self._made(tensor) is not None for tensor in found)

    def pass_on(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: Any, output: Any) -> None:
        """Note what the output of any function is made of."""
        for argument in arguments:  # nearly all functions of a network end here
            if isinstance(argument, Tensor) and self._made(argument) is None:
                if argument is not arguments[0]:
                    self._written(function, arguments, keywords)
                elif "out" in keywords:
                    self._spoil(keywords["out"])
                return
        if not isinstance(output, Tensor | tuple | list) and not _writes(function):
            return
        try:
            how, values = self._described((arguments, keywords))
        except _Varying:
            self._written(function, arguments, keywords)
            return
        name = _name(function)
        if name.rpartition(".")[2] in _RANDOM and not any(output is a for a in arguments):
            self._written(function, arguments, keywords)
            return
        if _writes(function) or "out" in keywords:
            self._write(keywords.get("out", arguments[0]), _short(f"{name}{how}"))
        self._mark(f"{name}{how}", values, arguments, output)

    def _mark(self, how: str, values: str, arguments: tuple[Any, ...], output: Any) -> None:
        memories = {_address(t): made.memory for t in tensors(arguments) if (made := self._made(t)) is not None}
        for index, tensor in enumerate(tensors(output)):
            if self._made(tensor) is None:
                memory = memories.get(_address(tensor)) or _Memory()
                setattr(tensor, _ATTRIBUTE, _Made(_short(f"{index} {how}"), values, memory))

    def _described(self, value: Any) -> tuple[str, str]:
        """How a value was made, and the numbers in it that are floats."""
        if isinstance(value, Tensor):
            made = self._made(value)
            if made is None:
                raise _Varying
            return self.parameter(value) or made.how + made.memory.history, made.value
        if isinstance(value, float):
            return "float", repr(value)
        if isinstance(value, dict):
            value = [part for item in value.items() for part in item]
        if isinstance(value, list | tuple):
            parts = [self._described(item) for item in value]
            return f"({' '.join(how for how, _ in parts)})", " ".join(x for _, x in parts if x)
        if isinstance(value, _PLAIN):
            return repr(value), ""
        raise _Varying

    def _written(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: Any) -> None:
        """An input may have been written into a constant."""
        if "out" in keywords:
            self._spoil(keywords["out"])
        if _writes(function):
            self._spoil(arguments[:1])

    def _spoil(self, target: Any) -> None:
        for tensor in tensors(target):
            if (made := self._made(tensor)) is not None:
                made.memory.constant = False

    def _write(self, target: Any, how: str) -> None:
        """Constants were written into constants; what a module holds itself then changes from pass to pass."""
        for tensor in tensors(target):
            made = self._made(tensor)
            if made is not None:
                made.memory.history += how
                if any(made.memory is own.memory for _, own in self._own.values()):
                    made.memory.constant = False

    def _made(self, tensor: Tensor) -> _Made | None:
        own = self._own.get(id(tensor))
        made: _Made | None = own[1] if own is not None else getattr(tensor, _ATTRIBUTE, None)
        return made if made is not None and made.memory.constant else None


def _held(module: nn.Module) -> list[tuple[str, Tensor, bool]]:
    """All tensors that a module and its parts hold, by name, and whether each is a parameter."""
    found: list[tuple[str, Tensor, bool]] = [(name, p, True) for name, p in module.named_parameters()]
    found += [(name, buffer, False) for name, buffer in module.named_buffers()]
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if not attribute.startswith("_") or isinstance(value, Tensor):
                found += [(f"{name} {attribute} {i}", t, False) for i, t in enumerate(tensors(value))]
    return found


def _address(tensor: Tensor) -> int:
    """Where the memory of a tensor begins; 0 where it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return 0


def _writes(function: Callable[..., Any]) -> bool:
    """Whether a function changes its first argument."""
    name = getattr(function, "__name__", "")
    return name in ("__setitem__", "__set__") or (
        name.startswith("__i") and name not in ("__invert__", "__index__", "__int__")
        if name.startswith("__")
        else name.endswith("_")
    )


def _name(function: Callable[..., Any]) -> str:
    owner = getattr(function, "__self__", None)  # of a property's __get__: the property
    own = getattr(function, "__name__", None) or type(function).__name__
    return f"{owner.__name__}.{own}" if owner is not None and hasattr(owner, "__name__") else str(own)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
