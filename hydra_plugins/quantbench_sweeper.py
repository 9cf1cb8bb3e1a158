"""Hydra's basic sweeper, with quantbench's own choice of the jobs that are worth a launch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn


class PlannedSweeper(BasicSweeper):
    """Sweeps over every combination as Hydra's basic sweeper does, in quantbench's order and without idle jobs."""

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the jobs of the plan; the run's list says what needs none."""
        # Imported here, because Hydra imports every plugin at each start.
        import torch
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from quantbench.console import track
        from quantbench.sweep.compose import file_sweep
        from quantbench.sweep.plan import note, plan

        assert self.hydra_context is not None and self.config is not None and self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        listed = [f"{key}={value}" for key, value in file_sweep(self.config).items()]
        overrides = parser.parse_overrides([*listed, *arguments])
        (combinations,) = self.split_arguments(overrides, None)
        results = Path(self.config.results_dir)
        tried = track(combinations, "planning", len(combinations))
        planned = plan(tried, self._compose, results, torch.cuda.is_available())
        note(results, *planned.entries)
        os.environ["QUANTBENCH_JOBS"] = str(len(planned.jobs))
        done: list[Sequence[JobReturn]] = []
        for batch in self.split_overrides_to_chunks(planned.jobs, self.max_batch_size) if planned.jobs else []:
            first = sum(len(jobs) for jobs in done)
            done.append(self.launcher.launch(batch, initial_job_idx=first))
            for job in done[-1]:
                _ = job.return_value  # raises what the job raised
        return done

    def _compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration of one job, as the launcher will compose it, in plain containers."""
        from omegaconf import OmegaConf

        from quantbench.sweep.callables import check_config
        from quantbench.sweep.compose import diagnose
        from quantbench.sweep.groups import CONFIG_NAME

        assert self.hydra_context is not None and self.config is not None
        try:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        except Exception as error:  # Hydra, OmegaConf, YAML and the file system each have errors of their own
            raise diagnose(CONFIG_NAME, overrides, error) from error
        check_config(config)
        wanted = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return OmegaConf.to_container(wanted, resolve=True)  # type: ignore[return-value]
