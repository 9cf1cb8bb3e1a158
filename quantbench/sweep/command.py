"""The command that measures a cell again, written from its composed configuration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig

from quantbench.sweep.groups import CONFIG_NAME, conf_folder, defaults, find_groups

# Where a run writes and what it does with what is there: no part of a cell.
LEFT_OUT = {"suite", "experiment", "results_dir", "force", "retry", "threads"}


def command_for(settings: Mapping[str, Any]) -> str:
    """`quantbench run ...` with all that differs from the defaults; empty where it cannot be told.

    What an experiment or a sweep set is written out, so that the command stands for itself.
    """
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.provider == "command-line"]
    words = [word for folder in folders for word in ("--config-dir", str(folder))]
    try:
        words += overrides(settings, dict(hydra.runtime.choices), [*folders, conf_folder()])
    except (KeyError, OSError, yaml.YAMLError):
        return ""  # a choice that comes from elsewhere than a file of ours or of --config-dir
    return shlex.join(["quantbench", "run", *words])


def overrides(settings: Mapping[str, Any], choices: Mapping[str, Any], folders: list[Path]) -> list[str]:
    """The overrides that turn the default configuration into `settings`, of which `choices` were made by group."""
    groups = [group for group in defaults() if group in settings]
    files = find_groups(folders)
    words = [f"model={choices['model']}"]
    for group in groups:
        # Another model may bring another task: then the task is said even where it is the default one.
        said = choices[group] != defaults()[group] or (group == "task" and choices["model"] != defaults()["model"])
        if said and group not in LEFT_OUT and group != "model":
            words.append(f"{group}={choices[group]}")
    for group in groups:
        if group not in LEFT_OUT:
            words += _differences(settings[group], _load(files[group][choices[group]]), f"{group}.")
    top = {key: value for key, value in settings.items() if key not in groups and key not in LEFT_OUT}
    return words + list(_differences(top, _load(conf_folder() / f"{CONFIG_NAME}.yaml"), ""))


def _load(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return loaded


def _differences(values: Mapping[str, Any], usual: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if key not in usual:
            yield f"++{prefix}{key}={spelled(value)}"
        elif value != usual[key]:
            yield f"{prefix}{key}={spelled(value)}"


PLAIN = re.compile(r"[\w./:+-]+")


def spelled(value: Any) -> str:
    """A value of YAML as the right side of `key=value`: null for None, quotes around what is no plain word."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(spelled(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{spelled(item)}' for key, item in value.items())}}}"
    text = str(value)
    if not isinstance(value, str) or PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
