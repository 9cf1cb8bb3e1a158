"""kill -9 at random moments of a sweep. tests/test_resume.py has the quick one: a single kill between two cells."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kill_sweeps.py"


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_loses_nothing_and_ends_as_an_undisturbed_one(tmp_path):
    command = [sys.executable, str(SCRIPT), "--kills", "8", "--seed", "1", "--output", str(tmp_path / "kills.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads((tmp_path / "kills.json").read_text())
    assert outcome["kills"] == sum(outcome["phases"].values()) == 8
    assert outcome["problems"] == []
    assert outcome["sweeps_finished"] > 0 and outcome["cells_compared"] == 6 * outcome["sweeps_finished"]
