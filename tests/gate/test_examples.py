"""The workflows of examples/ are run as they stand, but for the installation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GROUP = f"""# A network of one's own
defaults:
  - override /task@_global_.task: fashion_mnist

name: mynet
family: fashion
arch: resnet20_fashion
weights: {ROOT / "quantbench" / "networks" / "weights" / "resnet20_fashion.safetensors"}
"""


@pytest.fixture
def shell(folder):
    """Runs a line of a workflow's script in a repository with a group of its own; gives the process that ended."""
    (folder / "groups" / "model").mkdir(parents=True)
    (folder / "groups" / "model" / "mynet.yaml").write_text(GROUP)
    command = folder / "bin" / "quantbench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m quantbench "$@"\n')
    command.chmod(0o755)

    def run(script, **variables):
        path = f"{command.parent}:{os.environ['PATH']}"
        # As the workflow's, on few samples; a drop of 1 % cannot be told from them unless the outputs are the same.
        options = f"{variables.pop('OPTIONS')} limit=100"
        environment = {**os.environ, **variables, "PATH": path, "OPTIONS": options}
        return subprocess.run(["bash", "-e", "-c", script], env=environment, capture_output=True, text=True)

    return run


def test_github(shell, folder):
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["gate"]["steps"] if "name" in step}
    variables = {**workflow["env"], "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    for name in ("measure", "keep the baseline", "measure"):
        assert (done := shell(steps[name], **variables)).returncode == 0, done.stderr
    held = shell(steps["check"], **variables)
    assert held.returncode == 0, held.stderr
    assert "::notice title=quantization gate::1 row compared: 1 held" in held.stdout
    assert "1 held" in (folder / "summary.md").read_text() and (folder / "quantization.xml").is_file()


def test_gitlab(shell, folder):
    job = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())["quantization"]
    variables = {key: value for key, value in job["variables"].items() if "$CI_PROJECT_DIR" not in value}
    install, measure, check = job["script"]
    assert install == 'pip install "$QUANTBENCH"'
    for line in (f"{measure} && mv results baseline", measure, check):
        assert (done := shell(line, **variables)).returncode == 0, done.stderr
    assert {folder / "gate.md", folder / "gate.xml"} <= set(folder.iterdir())
    assert job["allow_failure"]["exit_codes"] == [3]
