"""Folds batch normalization into the layer before it (section 3.3 of the paper).

W' = W * gamma / sqrt(var + eps) for each output channel, b' = (b - mean) * gamma / sqrt(var + eps) + beta.
Which normalization follows which layer is seen by running the module once, so control flow does not matter.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from quantbench.quant.granularity import split_groups
from quantbench.quant.intercept.modules import ModuleStack
from quantbench.quant.tensors import tensors

Foldable = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear


_PLAIN_FORWARDS = {kind.forward for kind in Foldable.__args__}


def fold_batch_norm(module: nn.Module, *example: Tensor) -> tuple[nn.Module, list[tuple[str, str]]]:
    """A copy of `module` (in eval mode) with batch normalization folded, and the names of the folded pairs.

    A pair is folded where the layer's output goes into the normalization and nowhere else, and each runs once.
    """
    folded = copy.deepcopy(module).eval()
    pairs = _pairs(folded, *example)
    for layer_name, norm_name in pairs:
        layer, norm = folded.get_submodule(layer_name), folded.get_submodule(norm_name)
        _absorb(cast(Foldable, layer), norm)
        remainder = _remainder(norm)
        for parent in list(folded.modules()):  # it may be registered under several names
            for child, value in list(parent._modules.items()):
                if value is norm:
                    setattr(parent, child, remainder)
    return folded, pairs


def _has_own_weight(layer: nn.Module) -> bool:
    """True where forward uses the weight as it is: not weight-standardized, not parametrized."""
    return type(layer).forward in _PLAIN_FORWARDS and "weight" in layer._parameters


def _keeps_channels(layer: nn.Module, output: Tensor) -> bool:
    """True where dimension 1, which the normalization is over, is that of the layer's output channels."""
    return output.ndim == (2 if isinstance(layer, nn.Linear) else len(cast(Any, layer).kernel_size) + 2)


def _is_norm(module: nn.Module) -> bool:
    """True for batch normalization with fixed statistics, torchvision's frozen kind and timm's with activation too."""
    frozen = type(module).__name__ == "FrozenBatchNorm2d"
    known = type(module).__module__.startswith("torch.nn.") or hasattr(module, "act")
    return frozen or (isinstance(module, _BatchNorm) and known and module.running_mean is not None)


def _remainder(norm: nn.Module) -> nn.Module:
    """What is left of a normalization once its arithmetic is gone: nothing, or timm's dropout and activation."""
    rest = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()


@torch.no_grad()
def _absorb(layer: Foldable, norm: Any) -> None:
    """Put the arithmetic of `norm` into weight and bias of `layer`, in float64."""
    gamma = torch.ones_like(norm.running_var, dtype=torch.float64) if norm.weight is None else norm.weight.double()
    beta = torch.zeros_like(norm.running_var, dtype=torch.float64) if norm.bias is None else norm.bias.double()
    factor = gamma / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = 0.0 if layer.bias is None else layer.bias.double()
    weight = layer.weight.double()
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        blocks = split_groups(weight, layer.groups)
        by_block = factor.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
        weight = (blocks * by_block).flatten(0, 1)
    else:
        weight = weight * factor.view(-1, *[1] * (weight.ndim - 1))
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)
    shift = (bias - norm.running_mean.double()) * factor + beta
    layer.bias = nn.Parameter(shift.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)


def _pairs(module: nn.Module, *example: Tensor) -> list[tuple[str, str]]:
    """(layer, normalization) by name, for every pair that can be folded."""
    stack, runs = ModuleStack(), Counter[str]()
    produced: dict[int, tuple[str, Tensor]] = {}  # by id; the tensors are kept so that no id comes twice
    taken: dict[int, list[str]] = {}  # by id of a layer's output: who uses it

    def before(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            runs[name] += 1

        return hook

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, _: Any, output: Any) -> None:
            if _keeps_channels(layer, output):
                produced[id(output)] = (name, output)

        return hook

    class Uses(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") != "__get__":
                for tensor in tensors((args, kwargs)):
                    if id(tensor) in produced:
                        taken.setdefault(id(tensor), []).append(stack.frames[-1][0])
            return func(*args, **(kwargs or {}))

    handles = []
    norms = {name for name, child in module.named_modules() if _is_norm(child)}
    for name, child in module.named_modules():
        if name in norms or isinstance(child, Foldable):
            handles.append(child.register_forward_pre_hook(before(name)))
        if isinstance(child, Foldable) and _has_own_weight(child):
            handles.append(child.register_forward_hook(after(name)))
    try:
        with torch.no_grad(), stack.follow(module), Uses():
            output = module(*example)
    finally:
        for handle in handles:
            handle.remove()
    returned = {id(t) for t in tensors(output)}
    pairs = []
    for key, (layer, _) in produced.items():
        users = set(taken.get(key, []))
        if len(users) == 1 and key not in returned:
            (norm,) = users
            if norm in norms and runs[layer] == runs[norm] == 1:
                pairs.append((layer, norm))
    return pairs
