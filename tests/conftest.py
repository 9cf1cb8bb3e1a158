"""What several tests share."""

from collections.abc import Callable
from typing import Any

import pytest

from quantbench import reference
from quantbench.config import compose_checked, parse_arguments

Settings = dict[str, Any]


@pytest.fixture
def settings() -> Callable[..., Settings]:
    """The composed config of some overrides, as plain containers."""
    from omegaconf import OmegaConf

    def composed(*overrides: str) -> Settings:
        return OmegaConf.to_container(compose_checked(parse_arguments(overrides)).config, resolve=True)

    return composed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, and a process that has loaded no network yet."""
    monkeypatch.chdir(tmp_path)
    reference.forget()
    yield tmp_path
    reference.forget()
