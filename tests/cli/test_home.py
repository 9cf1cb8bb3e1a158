import os
import subprocess
import sys

import pytest

FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "QUANTBENCH_CACHE", "MPLCONFIGDIR", "HF_HOME", "TORCH_HOME")
RANDOM = ("run", "model=resnet18", "model.weights=random", "task=synthetic", "limit=1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("run", "limit=8"), 2), (("plot", "paper"), 0), (RANDOM, 0), (("assets", "fetch", "fashion_mnist"), 2)],
)
def test_a_home_that_cannot_be_written_is_done_without_or_said_in_one_line(folder, arguments, code):
    environment = {name: value for name, value in os.environ.items() if name not in FOLDERS}
    environment |= {"HOME": "/dev/null/home", "HF_HUB_OFFLINE": "1"}  # a folder that root cannot make either
    command = [sys.executable, "-m", "quantbench", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("fetching ")]
    assert done.returncode == code and len(lines) == (code == 2), done.stderr
    assert all("name another folder in QUANTBENCH_CACHE" in line for line in lines)
