"""Composes configurations with Hydra, and says in one line what cannot be composed.

What Hydra cannot do is explained from the names of files and their keys, without composing anything again.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from quantbench.errors import Mismatch, UserError, nearest, one_line
from quantbench.sweep.groups import CONFIG_NAME, conf_folder, defaults, find_groups, keys_of, load_yaml

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from quantbench.sweep.settings import Settings


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line as Hydra itself will read it: `overrides`, `multirun`, `config_dir`, `cfg`, ..."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise UserError(message)

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    parsed = parser.parse_intermixed_args(list(arguments))
    if parsed.config_path is not None:
        raise UserError("--config-path would leave out quantbench's own files: give yours with --config-dir")
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        raise UserError(f"--config-dir: no folder {parsed.config_dir}")
    return parsed


@dataclass(frozen=True)
class Request:
    """What a command line asks for. `overrides` are as Hydra shall get them, `folders` those of --config-dir."""

    overrides: list[str]
    multirun: bool
    folders: list[Path]


def read_request(arguments: argparse.Namespace) -> Request:
    """Reads the overrides; the Python files beside those of --config-dir can be imported from then on.

    In a sweep, an override below a group becomes a sweep over its one value. Hydra composes a configuration of its own
    before it sweeps, with the default choices and all overrides that are no sweeps, and a key that only some of the
    swept choices have would stop it there.

    Raises:
        UserError: an override cannot be read, or is a sweep where none is asked for.
    """
    folders = [Path(arguments.config_dir).resolve()] if arguments.config_dir is not None else []
    _make_importable(folders)
    overrides = [_parse_override(text) for text in arguments.overrides]
    multirun = bool(arguments.multirun) or _asks_for_sweep(overrides, folders)
    swept = next((override.input_line for override in overrides if override.is_sweep_override()), None)
    chosen = next((override for override in overrides if override.key_or_group == "experiment"), None)
    if swept and not multirun and chosen is None:  # an experiment may ask for it by way of another: Hydra says
        raise UserError(f"{swept} is a sweep: {'give one value' if arguments.cfg or arguments.info else 'add -m'}")
    for override in (o for o in overrides if not (o.is_sweep_override() or o.is_delete())):
        group, value = override.key_or_group, override.value()
        if group in defaults() and not isinstance(value, str | list):  # YAML reads 18 and null as no text
            raise UserError(f"no {group} {value}: {nearest(str(value), find_groups([*folders, conf_folder()])[group])}")
    folder = next((o for o in overrides if o.key_or_group == "results_dir"), None)
    if folder is not None and folder.is_sweep_override():
        raise UserError("results_dir must be the same for all jobs of a sweep: run the sweeps one by one")
    texts = [override.input_line or "" for override in overrides]
    return Request([_for_jobs(o) for o in overrides] if multirun else texts, multirun, folders)


def _for_jobs(override: Override) -> str:
    group, dot, _ = override.key_or_group.partition(".")
    plain = not (override.is_sweep_override() or override.is_delete())
    if dot and plain and group in defaults():
        value = override.get_value_element_as_str() or "''"
        return f"{override.get_key_element()}=choice({value})"
    return override.input_line or ""


def _parse_override(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        why = (
            "write key=value, and a value with signs such as = in quotes: \"key='a=b'\""
            if text.isprintable()
            else "the locale cannot spell it; set PYTHONUTF8=1"
        )
        raise UserError(f"cannot read the override {text}: {why}") from error


def _asks_for_sweep(overrides: Sequence[Override], folders: Sequence[Path]) -> bool:
    """Whether hydra.mode, of the command line or in the file of the experiment, is MULTIRUN."""
    given = {override.key_or_group: str(override.value()) for override in overrides}
    if "hydra.mode" in given:
        return given["hydra.mode"].rpartition(".")[2] == "MULTIRUN"
    file = find_groups([*folders, conf_folder()])["experiment"].get(given.get("experiment", ""))
    hydra = (load_yaml(file) if file else {}).get("hydra")
    return isinstance(hydra, Mapping) and hydra.get("mode") == "MULTIRUN"


def _make_importable(folders: Sequence[Path]) -> None:
    """Let this process, and those that it starts, import the Python files in folders."""
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.insert(0, folder)
            given = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join([folder, given] if given else [folder])


def compose_one(arguments: Sequence[str], what: str) -> DictConfig:
    """The one configuration that a command line asks for; `what` shows it, such as `plot`.

    Raises:
        UserError: it cannot be composed, or a sweep is asked for.
    """
    from hydra import compose

    parsed = parse_arguments(arguments)
    request = read_request(parsed)
    if request.multirun:
        advice = "leave out -m" if parsed.multirun else "the experiment asks for a sweep; add hydra.mode=RUN"
        raise UserError(f"{what} shows one network: {advice}")
    with _hydra(request.folders), explained(request.overrides, request.folders):
        return compose(parsed.config_name or CONFIG_NAME, request.overrides)


@contextmanager
def _hydra(folders: Sequence[Path]) -> Iterator[None]:
    """Hydra with the search path that its own main builds from the same arguments."""
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    import quantbench.sweep.settings  # noqa: F401  (registers the types of the configuration)

    version.setbase("1.3")
    search_path = create_config_search_path(f"file://{conf_folder()}")
    for folder in folders:
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2("quantbench", search_path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def typed(config: DictConfig) -> Settings:
    """The settings in a composed configuration, checked.

    Raises:
        UserError: a key is unknown, or a value of the wrong type or out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

    from quantbench.sweep.settings import Settings

    try:
        ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        settings: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), ours))
    except ConfigKeyError as error:
        known = [key.name for key in fields(Settings)]
        raise UserError(f"no override {error.key}: {nearest(str(error.key), known)}") from error
    except OmegaConfBaseException as error:
        raise UserError(_in_short(error)) from error
    assert isinstance(settings, Settings)
    return settings


@contextmanager
def explained(overrides: Sequence[str], folders: Sequence[Path]) -> Iterator[None]:
    """Inside, what Hydra raises of a configuration that cannot be composed is raised as one line.

    Raises:
        Mismatch: a key belongs to another choice.
        UserError: there is no such choice or key, a value has the wrong type, or a file cannot be read.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        groups = find_groups([*folders, conf_folder()])
        parsed = [_parse_override(text) for text in overrides]
        found = (
            _unknown_choice(error, parsed, groups) or _unknown_key(error, parsed, groups) or _missing_launcher(parsed)
        )
        raise found or UserError(_in_short(error)) from error


def _in_short(error: BaseException) -> str:
    """An error of Hydra or OmegaConf without its advice about search paths and its table of types."""
    text = one_line(error).split(" full_key:")[0]
    if error.__cause__ is not None and text.startswith("Error merging override "):
        override = str(error).removeprefix("Error merging override ")
        return f"{override}: {one_line(error.__cause__).split(' full_key:')[0]}"
    return text


def _chosen(override: Override) -> list[str]:
    value = override.value()
    if override.is_sweep_override():
        return [text.strip("'\"") for text in override.sweep_string_iterator()]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _unknown_choice(
    error: BaseException, overrides: Sequence[Override], groups: Mapping[str, Mapping[str, Path]]
) -> UserError | None:
    from hydra.errors import MissingConfigException

    if not isinstance(error, MissingConfigException):
        return None
    for override in overrides:
        if choices := groups.get(override.key_or_group):
            for choice in _chosen(override):
                if f"{override.key_or_group}/{choice}" in str(error) and choice not in choices:
                    return UserError(f"no {override.key_or_group} {choice}: {nearest(choice, choices)}")
    return None


def _unknown_key(
    error: BaseException, overrides: Sequence[Override], groups: Mapping[str, Mapping[str, Path]]
) -> UserError | None:
    """What is wrong with a key that no file has, or only those of choices that are not made; Hydra's error names it."""
    named = re.match(r"Could not override '([^']+)'", str(error))
    key = named[1] if named else ""
    if all(override.key_or_group != key or override.is_hydra_override() for override in overrides):
        return None
    roots = {*keys_of(conf_folder() / f"{CONFIG_NAME}.yaml"), *(group for group in groups if "/" not in group)}
    group = key.partition(".")[0]
    owners = {choice: {f"{group}.{name}" for name in keys_of(file)} for choice, file in groups.get(group, {}).items()}
    if having := [f"{group}={choice}" for choice, names in owners.items() if key in names]:
        return Mismatch(f"no override {key}: only with {' or '.join(having)}")
    return UserError(f"no override {key}: {nearest(key, roots.union(*owners.values()))}")


# hydra/launcher -> (its package, our extra that installs it). Our own file of it is there without the package.
LAUNCHERS = {
    "joblib": ("hydra-joblib-launcher", "joblib"),
    "submitit_slurm": ("hydra-submitit-launcher", "slurm"),
    "ray": ("hydra-ray-launcher", "ray"),
}


def _missing_launcher(overrides: Sequence[Override]) -> UserError | None:
    from importlib.util import find_spec

    for override in overrides:
        name = str(override.value())
        if override.key_or_group == "hydra/launcher" and name in LAUNCHERS:
            package, extra = LAUNCHERS[name]
            if find_spec(f"hydra_plugins.{package.replace('-', '_')}") is None:
                return UserError(f"hydra/launcher={name} needs {package}: pip install 'quantbench[{extra}]'")
    return None
