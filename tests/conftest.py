"""What several tests share."""

import signal
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import cache

import pytest

from quantbench import console
from quantbench.run import reference
from quantbench.sweep.compose import compose_one, typed
from quantbench.sweep.settings import Settings


@cache
def _composed(overrides: tuple[str, ...]) -> Settings:
    return typed(compose_one(overrides, "a test"))


@pytest.fixture
def settings() -> Callable[..., Settings]:
    """The settings of some overrides; composing takes its time, so each is composed once a process."""
    return lambda *overrides: deepcopy(_composed(overrides))


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
