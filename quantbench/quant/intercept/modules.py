"""Which modules are running, by name, from forward hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

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
