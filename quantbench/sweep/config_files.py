"""Reads the files of a --config-dir: within bounds, and without what would make Hydra look elsewhere."""

from __future__ import annotations

from pathlib import Path

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from quantbench.errors import UserError
from quantbench.sweep.yaml_bounds import check_yaml

SEARCHPATH = "hydra.searchpath could import any package: put the files into one folder and give it as --config-dir"


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's files, each checked before it is read. Those that come with quantbench need no check.

    A worker that is given this in Hydra's place takes it for Hydra's own by its name, which therefore must be that.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """As Hydra does. Raises UserError."""
        path = Path(self.path, self._normalize_file_name(config_path))
        if self.provider != "main" and path.is_file():
            check_yaml(path)
        found = super().load_config(config_path)
        if OmegaConf.is_dict(found.config) and OmegaConf.select(found.config, "hydra.searchpath") is not None:
            raise UserError(f"{path}: {SEARCHPATH}")
        return found


def check_files() -> None:
    """Make Hydra read files as FileConfigSource, in this process."""
    Plugins.instance()  # registers Hydra's own, and keeps what is there
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource
