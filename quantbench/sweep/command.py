"""The command that measures a cell again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from quantbench.results.record import spelled
from quantbench.sweep.groups import CONFIG_NAME, find_groups, load_yaml

# Where a run writes and what it does with what is there: no part of a cell.
LEFT_OUT = ("results_dir", "force", "retry", "reuse", "threads")


def command() -> str:
    """`quantbench run ...` with what the running job of Hydra was given; empty where there is none.

    An experiment may ask for a sweep; hydra.mode=RUN takes the rest of it for the one cell.
    """
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    words = [word for folder in folders for word in ("--config-dir", folder)]
    words += [] if hydra.job.config_name == CONFIG_NAME else ["--config-name", str(hydra.job.config_name)]
    words += [text for text in hydra.overrides.hydra if text.startswith("hydra.searchpath=")]
    words += [text for text in hydra.overrides.task if text.partition("=")[0].lstrip("+") not in LEFT_OUT]
    mode = ["hydra.mode=RUN"] if hydra.runtime.choices.get("experiment") else []
    return shlex.join(["quantbench", "run", *words, *mode])


def own_options(config: DictConfig) -> dict[str, str | None]:
    """The columns of a row with the options of model and task that differ from the files of their choices."""
    if not HydraConfig.initialized():
        return {}
    hydra = HydraConfig.get()
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.provider != "hydra"]
    files = find_groups([folder for folder in folders if folder.is_dir()])
    found = {}
    for group in ("model", "task"):
        file = files[group].get(hydra.runtime.choices[group])
        usual = load_yaml(file) if file else {}
        values: Any = OmegaConf.to_container(config[group], resolve=True)
        found[f"{group}_options"] = spelled(_without_places(values, usual))
    return found


def _without_places(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not as usual, the same on every machine: where files lie is no part of what is measured.

    `path` is left out; of any other file or folder its name stays. The name of the choice has its own column.
    """
    own = {key: value for key, value in values.items() if value != usual.get(key) and key not in ("path", "name")}
    return {key: _place(value) if isinstance(value, str) else value for key, value in own.items()}


def _place(value: str) -> str:
    path = Path(value).expanduser()
    is_place = value.startswith((".", "/", "~")) or (bool(value) and path.exists())
    return path.name if is_place and path.name else value
