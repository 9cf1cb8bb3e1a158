"""quantbench's sweeper where Hydra looks for plugins. It imports every plugin at each start: nothing heavy is here."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class PlannedSweeper(BasicSweeper):
    """Sweeps over every combination as Hydra's basic sweeper does, in quantbench's order and without idle jobs."""

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the jobs that the sweep needs."""
        from quantbench.sweep.sweeper import sweep

        assert self.hydra_context is not None and self.config is not None and self.launcher is not None
        return sweep(self.hydra_context, self.config, self.launcher, arguments, self.max_batch_size)
