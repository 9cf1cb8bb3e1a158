"""`quantbench run`: checks the request, hands it to Hydra, and prints what the cells gave."""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.console import folded, tell
from quantbench.errors import Halt, UserError, exit_code, halt_message, interruption, one_line
from quantbench.sweep.compose import compose_checked, parse_arguments
from quantbench.sweep.groups import CONFIG_NAME, conf_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")  # one value

HELP = """usage: quantbench run [-m] [--config-dir FOLDER] [OVERRIDE ...]

Quantizes a network, evaluates it beside fp32, and writes a row to results.csv in results_dir.
A cell whose record is there already is not run again.

  OVERRIDE             key=value, such as calib=entropy or limit=500; `quantbench list` shows the choices
  -m, --multirun       run every combination of key=value1,value2
  --config-dir FOLDER  a folder with groups of your own: FOLDER/model/mine.yaml gives model=mine
  --cfg job            print the configuration and stop
  --debug              show the traceback of an error

All other options of Hydra work too (--info, --resolve, hydra/launcher=...): --hydra-help lists them."""


def main(arguments: list[str]) -> int:
    """Runs the cells that the overrides ask for, and returns the exit code."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    request = parse_arguments(arguments)
    if request.shell_completion:
        return _hand_over(arguments, _nothing)
    if request.cfg and request.multirun:
        raise UserError("--cfg shows one configuration: leave out -m")
    composed = compose_checked(request)
    if request.cfg or request.info or request.hydra_help:
        return _hand_over(arguments, _nothing)

    from quantbench.cli.summary import print_summary
    from quantbench.results.files import Unwritable
    from quantbench.results.store import check_writable
    from quantbench.run.job import run_job

    results_dir = _results_dir(request.overrides, composed.config.results_dir)
    check_writable(results_dir)
    # Every job of this call notes its cell in the list of this run; its name travels in the job's own configuration, so
    # that it reaches the workers of any launcher.
    run = f"{time.strftime('%Y%m%dT%H%M%S')}_{secrets.token_hex(4)}"
    os.environ["QUANTBENCH_RUN"] = run
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # a Halt is said once, not once a task
    try:
        # Options first: Hydra reads all overrides in one piece, wherever the user put -m.
        options = [argument for argument in arguments if argument not in request.overrides]
        overrides = [*composed.overrides, f"++hydra.job.env_set.QUANTBENCH_RUN={run}"]
        code = _hand_over([*options, *overrides], run_job)
    except (Exception, KeyboardInterrupt) as error:
        if stopped := interruption(error):
            tell("interrupted: finished cells are kept; run the same command again to go on")
        with suppress(Unwritable):  # which is then what is raised already
            print_summary(results_dir, run, broken_off=True)
        if stopped:
            return exit_code(stopped)
        raise
    summary: int = print_summary(results_dir, run)
    return max(code, summary)


def _results_dir(overrides: list[str], value: object) -> Path:
    """The one folder that all jobs of this call write to."""
    if not isinstance(value, str) or not value:
        raise UserError(f"results_dir={value}: must be the name of a folder")
    given = [text.partition("=")[2] for text in overrides if text.startswith("results_dir=")]
    if any("${" in text or ("," in text and not QUOTED.fullmatch(text)) for text in given):
        raise UserError("results_dir must be the same for all jobs of a sweep: run the sweeps one by one")
    return Path(value)


def _nothing(_: object) -> None:
    """The job of a call that only prints: it is never run, and importing the real one takes seconds."""


def _hand_over(arguments: list[str], job: Callable[[DictConfig], None]) -> int:
    """Calls Hydra's own main, so that sweeps, launchers and --cfg work as its users know them."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["quantbench run", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print in several lines
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=CONFIG_NAME)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error
    except (Exception, Halt) as error:
        if message := halt_message(error):
            raise UserError(message) from error
        raise
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
    return 0
