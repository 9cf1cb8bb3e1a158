"""Hydra's basic sweeper, with quantbench's own choice of the jobs that are worth a launch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class PlannedSweeper(BasicSweeper):
    """Sweeps over every combination as Hydra's basic sweeper does, in quantbench's order and without idle jobs."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the jobs of the plan; the run's list says what needs none."""
        # Imported here, because Hydra imports every plugin at each start.
        import torch
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from quantbench.progress import track
        from quantbench.sweep import note, plan

        assert self.hydra_context is not None and self.config is not None and self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(overrides, None)
        planned = plan(track(combinations, "planning", len(combinations)), self._compose, torch.cuda.is_available())
        note(Path(self.config.results_dir), *planned.entries)
        jobs = self.launcher.launch(planned.jobs, initial_job_idx=0) if planned.jobs else []
        for job in jobs:
            _ = job.return_value  # raises what the job raised
        return [jobs]

    def _compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration of one job, as the launcher will compose it, in plain containers."""
        from omegaconf import OmegaConf

        from quantbench.config import CONFIG_NAME, diagnose

        assert self.hydra_context is not None and self.config is not None
        try:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        except Exception as error:  # Hydra, OmegaConf, YAML and the file system each have errors of their own
            raise diagnose(CONFIG_NAME, overrides, error) from error
        wanted = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return OmegaConf.to_container(wanted, resolve=True)  # type: ignore[return-value]
