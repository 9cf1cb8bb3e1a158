"""Data, splits and targets: one loader a data set, called by the task's name or by a dotted path.

A loader is the function `load(*, calibration_samples, seed, **options) -> Task` of a module of this room. Where the
options are not all that identifies its data, the module also has `identity(options)`, which completes them. Neither
needs torch to be imported before a task is loaded.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.assets.content import content_sha256
from quantbench.errors import UserError

if TYPE_CHECKING:
    from quantbench.tasks.task import Task

__all__ = ["identity", "load"]

_NO_OPTIONS = ("name", "loader", "_target_", "labels", "sha256")


def load(config: Mapping[str, Any]) -> Task:
    """The task of the loader that `config` names, called with the other keys.

    That is the function with the dotted path `_target_`, such as `my_module.load`, else the `load` of the module of
    this room that is called as `loader`, or as `name` where there is no such key. `labels` and what `identity` adds are
    no options. Raises UserError if there is no such loader, if it has no such option, or if its data cannot be had.
    """
    options = {str(key): value for key, value in config.items() if key not in _NO_OPTIONS}
    module, function = _loader(config)
    what = f"the task {config.get('name')} ({module}.{function})"
    try:
        loader = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{what} cannot be loaded: {error}") from error
    signature = inspect.signature(loader)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise UserError(f"{what}: {error}; its options are {', '.join(signature.parameters)}") from None
    task: Task = loader(**options)
    return task


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a task from all others: `config` without its labels, and what identifies the files that it names.

    `path` becomes absolute; where it has a sub-folder that is called as the task, it is that one. `sha256` is there
    where the loader is a function of one's own (of the file that it is in), or where its own `identity` gives one.
    Raises UserError if a file cannot be read.
    """
    options = {str(key): value for key, value in config.items() if key != "labels"}
    if options.get("path") is not None:
        path = Path(str(options["path"])).expanduser().absolute()
        named = path / str(options.get("loader") or options.get("name"))
        options["path"] = str(named if named.is_dir() else path)
    module, _ = _loader(config)
    source = _source(module)
    if source is not None and "\ndef identity(" in source.read_text(encoding="utf-8"):
        options = dict(import_module(module).identity(options))
    found = [options.pop("sha256")] if "sha256" in options else []
    if source is not None and "_target_" in config:
        found.append(content_sha256(source))
    if len(found) > 1:
        found = [hashlib.sha256("+".join(found).encode()).hexdigest()]
    return {**options, "sha256": found[0]} if found else options


def _loader(config: Mapping[str, Any]) -> tuple[str, str]:
    """The module of the loader and its name in there."""
    target = str(config.get("_target_") or f"{__name__}.{config.get('loader') or config.get('name')}.load")
    module, _, function = target.rpartition(".")
    return module, function


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it; None if there is none."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
