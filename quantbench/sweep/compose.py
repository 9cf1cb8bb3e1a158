"""Finds the configuration files, checks what the command line asks of them, and composes the configuration.

Hydra reports a mistake in several lines and only when it comes to it, in the middle of a sweep. So every override, and
every value of a sweep, is tried here first: a mistake is one line that names the nearest thing that exists.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from quantbench.errors import Mismatch, UserError, nearest, one_line
from quantbench.sweep.command import spelled
from quantbench.sweep.groups import CONFIG_NAME, conf_folder
from quantbench.sweep.keys import choices_of, keys_elsewhere, known_keys, lacking, lines_of
from quantbench.sweep.launchers import refuse_missing_launcher

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


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
    if parsed.experimental_rerun is not None:
        raise UserError(
            "--experimental-rerun reads a pickle, which could run code: run the command of the record again"
        )
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        raise UserError(f"--config-dir: no folder {parsed.config_dir}")
    return parsed


@dataclass(frozen=True)
class Composed:
    """A checked request."""

    config: DictConfig  # of its first job
    multirun: bool
    params: dict[str, str]  # what a file sweeps over
    overrides: list[str]  # as Hydra shall get them


def compose_checked(arguments: argparse.Namespace) -> Composed:
    """Composes what `arguments` ask for, after trying every override and every value of a sweep.

    A sweep is tried one value at a time, beside the first values of all others: the sum of the lengths, not their
    product. Values that do not go together are no mistake as long as some do: the sweep leaves such combinations out.

    Raises:
        UserError: an override cannot be read, names a key or a choice that does not exist, or code; or a file does.
    """
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    name = arguments.config_name or CONFIG_NAME
    with _hydra(arguments.config_dir):
        overrides = _parse_overrides(arguments.overrides)
        mismatch: Mismatch | None = None
        try:
            config, variant = _first_possible(name, overrides)
        except Mismatch as error:
            # A sweep in a file may make the choices that have the key.
            mismatch = error
            config, variant = _first_possible(name, _present(name, overrides))
        _refuse_new_roots(name, variant)
        refuse_missing_launcher(config.hydra.runtime.choices["hydra/launcher"])
        multirun = bool(arguments.multirun) or config.hydra.mode == RunMode.MULTIRUN
        only_shown = bool(arguments.cfg or arguments.info)
        swept = next((override.input_line for override in overrides if override.is_sweep_override()), None)
        if swept and not multirun:
            raise UserError(f"{swept} is a sweep: {'give one value' if only_shown else 'add -m'}")
        if mismatch and (only_shown or not multirun):
            raise mismatch
        params: dict[str, str] = {}
        if multirun:
            # A sweep may stand in a YAML file too; the command line wins there.
            params = file_sweep(config)
            overrides = _parse_overrides([f"{key}={value}" for key, value in params.items()]) + overrides
            config, _ = _first_possible(name, overrides)
        handed_over = list(arguments.overrides)
        if multirun:
            handed_over = _for_jobs_only(name, arguments.overrides)
            # Hydra's own configuration of the sweep, which makes the launcher and the logging, has these only.
            _compose(name, [override for override in _parse_overrides(handed_over) if not override.is_sweep_override()])
    wanted = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return Composed(wanted, multirun, params, handed_over)


def _for_jobs_only(name: str, texts: Sequence[str]) -> list[str]:
    """The overrides of a sweep, some of those below a group as sweeps over one value.

    Hydra composes a configuration of its own before it sweeps, with the default choices and all overrides that are no
    sweeps; a key that only some of the swept choices have, or have not, would stop it there.
    """
    overrides = _parse_overrides(texts)
    plain = [override for override in overrides if not override.is_sweep_override()]
    absent = [override.key_or_group for override in lacking(plain, known_keys(name, plain))]
    handed_over = []
    for text, override in zip(texts, overrides, strict=True):
        key, added = override.key_or_group, override.is_add() and not override.is_hydra_override()
        if override in plain and not override.is_delete() and "." in key and (added or key in absent):
            text = f"{override.get_key_element()}=choice({override.get_value_element_as_str()})"
        handed_over.append(text)
    return handed_over


def file_sweep(config: DictConfig) -> dict[str, str]:
    """What the files behind a configuration sweep over, as overrides spell it; a text is in their grammar already."""
    from omegaconf import OmegaConf

    listed = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=True)
    assert isinstance(listed, dict)
    return {str(key): value if isinstance(value, str) else spelled(value) for key, value in listed.items()}


def _parse_overrides(texts: Sequence[str]) -> list[Override]:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from quantbench.sweep.config_files import SEARCHPATH

    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    parsed: list[Override] = []
    for text in texts:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException as error:
            why = (
                "write key=value, and a value with signs such as = in quotes: \"key='a=b'\""
                if text.isprintable()
                else "the locale cannot spell it; set PYTHONUTF8=1"
            )
            raise UserError(f"cannot read the override {text}: {why}") from error
    if any(override.key_or_group == "hydra.searchpath" for override in parsed):
        raise UserError(SEARCHPATH)
    return parsed


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[None]:
    """Hydra with the search path that its own main builds from the same arguments."""
    from hydra import version as hydra_version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    from quantbench.sweep.config_files import check_files

    hydra_version.setbase("1.3")
    check_files()
    search_path = create_config_search_path(f"file://{conf_folder()}")
    if config_dir is not None:
        folder = f"file://{Path(config_dir).resolve()}"
        search_path.prepend(provider="command-line", path=folder, anchor=SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2("quantbench", search_path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def _variants(overrides: Sequence[Override]) -> Iterator[list[Override]]:
    """The first values of all overrides; then each further value of a sweep with the first values of the others."""
    values = [_values(override) for override in overrides]
    first = [choices[0] for choices in values]
    yield first
    for place, choices in enumerate(values):
        for choice in choices[1:]:
            yield [*first[:place], choice, *first[place + 1 :]]


def _first_possible(name: str, overrides: Sequence[Override]) -> tuple[DictConfig, list[Override]]:
    """Tries all variants of a sweep; the first configuration whose choices go together, and its overrides."""
    possible: list[tuple[DictConfig, list[Override]]] = []
    mismatch: Mismatch | None = None
    for variant in _variants(overrides):
        try:
            possible.append((_compose(name, variant), variant))
        except Mismatch as error:
            mismatch = mismatch or error
    if not possible:
        assert mismatch is not None
        raise mismatch
    return possible[0]


def _present(name: str, overrides: Sequence[Override]) -> list[Override]:
    """The overrides without those of keys that the first choices do not have."""
    first = next(_variants(overrides))
    absent = {override.key_or_group for override in lacking(first, known_keys(name, first))}
    return [override for override in overrides if override.key_or_group not in absent]


def _values(override: Override) -> list[Override]:
    if not override.is_sweep_override():
        return [override]
    if not override.is_discrete_sweep():
        # interval(...) and the like are for sweepers from plugins, which check their own.
        raise UserError(f"{override.input_line}: list the values of a sweep, as in key=1,2,3")
    key = override.get_key_element()
    values = _parse_overrides([f"{key}={value}" for value in override.sweep_string_iterator()])
    if not values:
        raise UserError(f"{override.input_line} matches nothing")
    return values


def _compose(name: str, overrides: Sequence[Override]) -> DictConfig:
    from hydra import compose
    from omegaconf import OmegaConf

    from quantbench.sweep.callables import check_config

    try:
        config = compose(name, lines_of(overrides), return_hydra_config=True)
    except UserError:
        raise
    except Exception as error:  # Hydra, OmegaConf, YAML and the file system each have errors of their own
        raise _diagnose(name, overrides) or UserError(one_line(error)) from error
    for group, choice in config.hydra.runtime.choices.items():
        if group in config and not OmegaConf.is_dict(config[group]):
            raise UserError(f"{group}={choice} has no keys: write `name: ...` into its file")
    check_config(config)
    return config


def _refuse_new_roots(name: str, overrides: Sequence[Override]) -> None:
    """Refuses +key=value where nothing would ever read the key. Below an existing key, +model.key=value is fine."""
    added = [o for o in overrides if o.is_add() or o.is_force_add()]
    added = [o for o in added if not o.is_hydra_override() and not choices_of(o.key_or_group)]
    if not added:
        return
    roots = {str(key) for key in _compose(name, [override for override in overrides if override not in added])}
    for override in added:
        if override.key_or_group.split(".")[0] not in roots:
            raise UserError(f"no override {override.key_or_group}: {nearest(override.key_or_group, roots - {'hydra'})}")


def diagnose(name: str, texts: Sequence[str], error: Exception) -> UserError:
    """What to say where the overrides `texts` of one job cannot be composed; Hydra must be initialized."""
    return _diagnose(name, _parse_overrides(texts)) or UserError(one_line(error))


def _diagnose(name: str, overrides: Sequence[Override]) -> UserError | None:
    """What is wrong with the overrides, if it is a name that does not exist or one that others rule out."""
    from hydra.core.global_hydra import GlobalHydra

    groups = [override for override in overrides if choices_of(override.key_or_group)]
    for override in groups:
        value, choices = override.value(), choices_of(override.key_or_group)
        chosen: list[Any] = value if isinstance(value, list) else [value]
        for choice in [str(item) for item in chosen]:
            if choice not in [*choices, "None"] and not override.is_delete():
                return UserError(f"no {override.key_or_group} {choice}: {nearest(choice, choices)}")
    try:
        known = known_keys(name, overrides)
    except Exception:  # a file is wrong, not a name: the first error says it
        return None
    roots = set(GlobalHydra.instance().config_loader().list_groups("")) - {"hydra"}
    for override in lacking(overrides, known):
        key = override.key_or_group
        elsewhere = keys_elsewhere(name, key.split(".")[0])
        if key in elsewhere:
            return Mismatch(f"no override {key}: only with {' or '.join(elsewhere[key])}")
        return UserError(f"no override {key}: {nearest(key, known | roots | elsewhere.keys())}")
    return None
