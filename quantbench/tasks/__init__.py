"""Data, splits and targets: one loader a data set, called by the task's name or by a dotted path.

A loader is the function `load(*, calibration_samples, seed, **options) -> Task` of a module of this room. Where the
options are not all that identifies its data, the module also has `identity(options)`, which completes them. Neither
needs torch to be imported before a task is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench import lookup

if TYPE_CHECKING:
    from quantbench.tasks.task import Task

__all__ = ["identity", "load"]

_NO_OPTIONS = ("name", "loader", "labels", lookup.TARGET, lookup.SHA256)


def load(config: Mapping[str, Any]) -> Task:
    """The task of the loader that `config` names, called with the other keys.

    That is the function with the dotted path `_target_`, such as `my_module.load`, else the `load` of the module of
    this room that is called as `loader`, or as `name` where there is no such key. `labels` and what `identity` adds are
    no options. Raises UserError if there is no such loader, if it has no such option, or if its data cannot be had.
    """
    loader = lookup.find(__name__, "load", config, _named(config))
    options = {str(key): value for key, value in config.items() if key not in _NO_OPTIONS}
    lookup.check_options(loader, f"task={config.get('name')}", options)
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
        named = path / str(options.get(_named(config)))
        options["path"] = str(named if named.is_dir() else path)
    return lookup.identified(options, __name__, "load", _named(config))


def _named(config: Mapping[str, Any]) -> str:
    """The key that has the name of the loader's module."""
    return "loader" if config.get("loader") is not None else "name"
