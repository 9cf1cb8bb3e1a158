"""Processes that write into one folder, and others that read it meanwhile."""

import subprocess
import sys

import pytest

from quantbench.cli import main as cli
from tests.run.test_resume import figures

SWEEP = [sys.executable, "-m", "quantbench.cli.main", "run", "-m", "weight_bits=8,6", "calib=max,mse", "limit=300"]
READERS = (["report", "results_dir=both"], ["check", "both", "--baseline", "both", "--json", "-"])


@pytest.mark.slow
def test_two_sweeps_that_measure_anew_and_processes_that_read_meanwhile_do_no_harm(folder, capsys):
    assert cli.main([*SWEEP[3:], "results_dir=alone"]) == 0
    assert cli.main([*SWEEP[3:], "results_dir=both"]) == 0
    command = [*SWEEP, "results_dir=both", "force=true"]
    pair = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    read = 0
    while any(process.poll() is None for process in pair):
        for arguments in READERS:
            capsys.readouterr()
            assert cli.main(arguments) == 0
            assert capsys.readouterr().err == ""
            read += 1
    ends = [(process.communicate()[1], process.returncode) for process in pair]
    assert [code for _, code in ends] == [0, 0] and not any("quantbench:" in errors for errors, _ in ends)
    assert read > 3 and not list(folder.glob("both/**/.*.partial"))
    assert figures("both").equals(figures("alone"))
