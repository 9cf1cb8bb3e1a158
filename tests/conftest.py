"""What several tests share."""

import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from quantbench import console
from quantbench.run import reference
from quantbench.sweep.compose import compose_checked, parse_arguments

Settings = dict[str, Any]


@pytest.fixture
def settings() -> Callable[..., Settings]:
    """The composed config of some overrides, as plain containers."""
    from omegaconf import OmegaConf

    def composed(*overrides: str) -> Settings:
        return OmegaConf.to_container(compose_checked(parse_arguments(overrides)).config, resolve=True)

    return composed


@pytest.fixture(autouse=True)
def interruptible():
    """Processes that a test starts can be interrupted, even where the tests run in the background (nohup, some CI)."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, and a process that has loaded no network yet."""
    monkeypatch.chdir(tmp_path)
    reference.forget()
    yield tmp_path
    reference.forget()


@pytest.fixture
def columns(monkeypatch):
    """Makes standard output and error a terminal of so many columns."""

    def narrow(count):
        monkeypatch.setattr(console, "is_terminal", lambda: True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(count))

    return narrow
