"""Finds the pairs of a layer and the batch normalization that can be folded into it, by looking at tensors.

Every operation that touches the memory of a weight, of a layer's output or of a normalization is noted, below autograd:
so views, tied parameters and functions that use `module.weight` count, whatever module or name they come by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from quantbench.quant.intercept.modules import ModuleStack
from quantbench.quant.tensors import tensors

Foldable = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear

# Of the weight of each kind of layer, and of its output where that is a batch with its channels in dimension 1.
_DIMENSIONS = {
    F.linear: 2,
    **{getattr(F, f"conv{kind}{n}d"): n + 2 for kind in ("", "_transpose") for n in (1, 2, 3)},
}
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


@dataclass(frozen=True, eq=False)
class Place:
    """Where a module holds a parameter."""

    module: nn.Module
    name: str

    @property
    def tensor(self) -> nn.Parameter:
        """The parameter that is there now."""
        parameter = self.module._parameters[self.name]
        assert parameter is not None
        return parameter


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer's weight and bias, and the normalization that can be folded into them, with the names of both."""

    layer: str
    norm: str
    weight: Place
    bias: Place
    transposed: bool


def is_norm(module: nn.Module) -> bool:
    """True for batch normalization with fixed statistics, torchvision's frozen kind and timm's with activation too.

    One with hooks, or with a forward of its own, does something else.
    """
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    if type(module).__name__ == "FrozenBatchNorm2d":
        return hasattr(module, "eps")
    plain = type(module).forward in (_BatchNorm.forward, SyncBatchNorm.forward)
    timms = type(module).__module__.startswith("timm.") and hasattr(module, "act")
    return isinstance(module, _BatchNorm) and (plain or timms) and module.running_mean is not None


def find_pairs(module: nn.Module, runs: Iterable[tuple[Any, ...]]) -> list[Pair]:
    """The pairs that can be folded, in the order of their first execution.

    Afterwards each parameter of these pairs is held in one place only, and those that are missing (the bias of a
    convolution without one) are there, with zeros. The module computes what it did.
    """
    with _apart(module) as used:
        seen = [_look(module, run) for run in runs]
        found = {(pair.weight.tensor, pair.norm): pair for run in seen for pair in run.pairs}
        pairs = [pair for pair in found.values() if all(run.agrees(pair) for run in seen)]
        used.update(place.tensor for pair in pairs for place in (pair.weight, pair.bias))
    return pairs


@contextmanager
def _apart(module: nn.Module) -> Iterator[set[Tensor]]:
    """While this is open, parameters share no memory, and layers without a bias have one of zeros.

    Those that are not in the set that is handed out become again what they were.
    """
    used: set[Tensor] = set()
    before: list[tuple[Place, nn.Parameter | None]] = []
    memories: set[int] = set()
    for child in module.modules():
        for name, parameter in child._parameters.items():
            weight = child._parameters.get("weight")
            if parameter is None and name == "bias" and isinstance(child, Foldable) and weight is not None:
                channels = child.out_features if isinstance(child, nn.Linear) else child.out_channels
                made = weight.new_zeros(channels)
            elif parameter is not None and memory_of(parameter) in memories:
                made = parameter.detach().clone()
            else:
                memories.update(() if parameter is None else (memory_of(parameter),))
                continue
            before.append((Place(child, name), parameter))
            like = weight if parameter is None else parameter
            child._parameters[name] = nn.Parameter(made, requires_grad=bool(like is not None and like.requires_grad))
    try:
        yield used
    finally:
        for place, parameter in before:
            if place.tensor not in used:
                place.module._parameters[place.name] = parameter


def memory_of(tensor: Tensor) -> int:
    """Where the memory begins that a tensor shares with all its views; 0 where it has none of this kind."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse, or a wrapper without memory
        return 0


@dataclass(eq=False)
class _Execution:
    """A convolution or linear layer that runs. Its output is kept, so that nothing else gets its memory."""

    function: Any
    source: Tensor
    weight: Tensor
    bias: Tensor | None
    output: Tensor | None = None


@dataclass(eq=False)
class _Seen:
    """What one run showed: the pairs, and by memory who used what."""

    users: dict[int, set[Any]] = field(default_factory=dict)
    entered: dict[str, list[list[Tensor]]] = field(default_factory=dict)
    executed: list[_Execution] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)

    def agrees(self, pair: Pair) -> bool:
        """Whether the pair is one here too, or neither of its halves ran."""
        used = self.users.get(memory_of(pair.weight.tensor)) or self.users.get(memory_of(pair.bias.tensor))
        return any(
            (each.weight.tensor is pair.weight.tensor and each.norm == pair.norm) for each in self.pairs
        ) or not (used or pair.norm in self.entered)


class _Layers(TorchFunctionMode):
    """Notes every convolution and linear layer that runs."""

    def __init__(self, seen: _Seen) -> None:
        super().__init__()
        self._seen = seen
        self.running: _Execution | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _DIMENSIONS:
            return func(*args, **kwargs)
        given = {**dict(zip(("input", "weight", "bias"), args, strict=False)), **kwargs}
        self.running = layer = _Execution(func, given["input"], given["weight"], given.get("bias"))
        try:
            layer.output = func(*args, **kwargs)
        finally:
            self.running = None
        self._seen.users.setdefault(memory_of(layer.output), set())
        self._seen.executed.append(layer)
        return layer.output


class _Uses(TorchDispatchMode):
    """Notes who touches memory that is watched: a layer that runs, a normalization, or None for anybody else."""

    def __init__(self, seen: _Seen, layers: _Layers, stack: ModuleStack, norms: Iterable[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._users, self._layers, self._stack, self._norms = seen.users, layers, stack, set(norms)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tensors((args, kwargs)):
            if (users := self._users.get(memory_of(tensor))) is not None:
                norm = next((name for name, *_ in self._stack.frames if name in self._norms), None)
                users.add(self._layers.running or norm)
        return func(*args, **(kwargs or {}))


def _look(module: nn.Module, run: tuple[Any, ...]) -> _Seen:
    """Run the module once and see which pairs it has."""
    seen, stack = _Seen(), ModuleStack()
    norms = {name: child for name, child in module.named_modules() if is_norm(child)}
    watched = [*module.parameters(), *(buffer for norm in norms.values() for buffer in norm.buffers())]
    seen.users = {memory_of(tensor): set() for tensor in watched}
    layers = _Layers(seen)

    def entering(name: str) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            seen.entered.setdefault(name, []).append(list(tensors((args, kwargs))))

        return hook

    handles = [norm.register_forward_pre_hook(entering(name), with_kwargs=True) for name, norm in norms.items()]
    try:
        with torch.no_grad(), stack.follow(module), layers, _Uses(seen, layers, stack, norms):
            returned = {memory_of(tensor) for tensor in tensors(module(*fresh(run)))}
    finally:
        for handle in handles:
            handle.remove()
    seen.pairs = _pairs(module, norms, seen, returned)
    seen.executed.clear()
    return seen


def fresh(run: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same arguments in memory of their own, because a module may write into them."""
    copies: tuple[Any, ...] = tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), run)
    return copies


def _pairs(module: nn.Module, norms: dict[str, nn.Module], seen: _Seen, returned: set[int]) -> list[Pair]:
    held = {
        parameter: (name, Place(child, own))
        for name, child in module.named_modules()
        for own, parameter in child._parameters.items()
        if parameter is not None
    }
    executed = {id(each.output): each for each in seen.executed}
    pairs = []
    for norm, entries in seen.entered.items():
        layer = executed.get(id(entries[0][0])) if len(entries) == 1 and len(entries[0]) == 1 else None
        if layer is None or layer.output is None or memory_of(layer.output) in returned:
            continue
        weight, bias = layer.weight, layer.bias
        if (
            weight not in held
            or bias is None
            or bias not in held
            or not _keeps_channels(layer, layer.output, norms[norm])
        ):
            continue
        allowed: dict[Tensor, Any] = {weight: layer, bias: layer, layer.output: norm}
        allowed |= dict.fromkeys([*norms[norm].parameters(), *norms[norm].buffers()], norm)
        if all(seen.users[memory_of(tensor)] <= {user} for tensor, user in allowed.items()):
            name, place = held[weight]
            name = name if place.name == "weight" else f"{name}.{place.name}".lstrip(".")
            pairs.append(Pair(name, norm, place, held[bias][1], layer.function in _TRANSPOSED))
    return pairs


def _keeps_channels(layer: _Execution, output: Tensor, norm: Any) -> bool:
    """True where dimension 1, which the normalization is over, is that of the layer's output channels."""
    dimensions = {output.ndim, layer.weight.ndim, _DIMENSIONS[layer.function]}
    operands = {memory_of(tensor) for tensor in (layer.source, layer.weight, layer.bias) if tensor is not None}
    return len(operands) == 3 and len(dimensions) == 1 and output.shape[1] == norm.running_var.numel()
