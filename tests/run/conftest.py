"""What the tests of faults during a run share."""

import pytest

from quantbench.cli import main as cli
from tests import faulty


@pytest.fixture
def run(folder, monkeypatch):
    """`quantbench run` of the network that fails on demand, as exit code."""
    command = faulty.install(folder, monkeypatch)
    return lambda *overrides: cli.main([*command, *overrides])
