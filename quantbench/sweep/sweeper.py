"""Hydra's basic sweeper, with quantbench's own choice of the jobs that are worth a launch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from quantbench.console import track
from quantbench.errors import UserError
from quantbench.results.store import check_writable
from quantbench.sweep.compose import explained, typed
from quantbench.sweep.plan import note, plan
from quantbench.sweep.settings import Settings


def sweep(
    context: HydraContext, config: DictConfig, launcher: Launcher, arguments: list[str], max_batch_size: int | None
) -> list[Sequence[JobReturn]]:
    """Launch the jobs of the plan, cells of one network one after the other; the run's list says what needs none.

    The sweep in a file (hydra.sweeper.params) comes first, so that the command line wins.

    Raises:
        UserError: a combination cannot be composed.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    folders = [Path(s.path) for s in config.hydra.runtime.config_sources if s.provider == "command-line"]

    def compose(overrides: Sequence[str]) -> Settings:
        """The settings of one job, as the launcher will compose it."""
        with explained(overrides, folders):
            return typed(context.config_loader.load_sweep_config(config, list(overrides)))

    parser = OverridesParser.create(config_loader=context.config_loader)
    overrides = parser.parse_overrides([*_in_file(config), *arguments])
    for override in overrides:
        if override.is_discrete_sweep() and not list(override.sweep_iterator()):
            raise UserError(f"{override.input_line} matches nothing")
    (combinations,) = BasicSweeper.split_arguments(overrides, None)
    results = Path(config.results_dir)
    check_writable(results)
    planned = plan(track(combinations, "planning", len(combinations)), compose, results, torch.cuda.is_available())
    note(results, *planned.entries)
    os.environ["QUANTBENCH_JOBS"] = str(len(planned.jobs))
    done: list[Sequence[JobReturn]] = []
    for batch in BasicSweeper.split_overrides_to_chunks(planned.jobs, max_batch_size) if planned.jobs else []:
        done.append(launcher.launch(batch, initial_job_idx=sum(map(len, done))))
        for job in done[-1]:
            _ = job.return_value  # raises what the job raised
    return done


def _in_file(config: DictConfig) -> list[str]:
    """What the files behind a configuration sweep over, as overrides; a text is in their grammar already."""
    listed: Any = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=True)
    return [f"{key}={value if isinstance(value, str) else _in_grammar(value)}" for key, value in listed.items()]


def _in_grammar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(repr(item) if isinstance(item, str) else _in_grammar(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
