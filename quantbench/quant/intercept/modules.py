"""Which modules are running, by name, from forward hooks; and which hide what they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from quantbench.quant import QuantizationError

# torch's files of modules that run no layer: to follow these too would cost time in every forward pass.
SIMPLE = frozenset(
    f"torch.nn.modules.{file}" for file in ("activation", "batchnorm", "dropout", "flatten", "normalization", "pooling")
)


class ModuleStack:
    """The modules that are running now by name, innermost last."""

    def __init__(self) -> None:
        """Start outside every module."""
        self.frames: list[tuple[str, nn.Module]] = []

    @property
    def innermost(self) -> str:
        """The name of the innermost module that is running."""
        return self.frames[-1][0] if self.frames else ""

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
            self.frames.append((name, module))

        return hook

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        name, _ = self.frames.pop()
        made = isinstance(output, Tensor) and not isinstance(output, nn.Parameter)
        if made and isinstance(module, ParametrizationList):
            setattr(output, _MADE_FOR, name.replace("parametrizations.", ""))


_MADE_FOR = "_quantbench_parametrized"


def parametrized_by(weight: Tensor) -> str:
    """The name that a weight would have as a parameter where a parametrization makes it; "" for any other."""
    return getattr(weight, _MADE_FOR, "")


def refuse_hidden(module: nn.Module) -> None:
    """Refuse what runs other code than its own.

    Raises:
        QuantizationError: a part is scripted or compiled; the message says what to give instead.
    """
    for name, part in module.named_modules():
        where = f"module {name!r}" if name else "the network"
        if isinstance(part, torch.jit.ScriptModule):
            raise QuantizationError(f"{where} is scripted, its layers are not visible: give the module it was made of")
        if isinstance(part, torch._dynamo.OptimizedModule):
            raise QuantizationError(f"{where} is compiled, its layers are not visible: give its _orig_mod")
        if getattr(part, "_compiled_call_impl", None) is not None:
            raise QuantizationError(f"{where} is compiled, its layers are not visible: give it before .compile()")
