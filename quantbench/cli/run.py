"""`quantbench run`: hands the request to Hydra, and prints what the cells gave."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from quantbench.console import folded, tell
from quantbench.errors import Halt, UserError, exit_code, halt_message, interruption
from quantbench.sweep.compose import Request, explained, parse_arguments, read_request
from quantbench.sweep.groups import CONFIG_NAME, conf_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """usage: quantbench run [-m] [--config-dir FOLDER] [OVERRIDE ...]

Quantizes a network, evaluates it beside fp32, and writes a row to results.csv in results_dir.
A cell whose record is there already is not run again, unless other code, versions or another device made it.

  OVERRIDE             key=value, such as calib=entropy or limit=500; `quantbench list` shows the choices
  -m, --multirun       run every combination of key=value1,value2
  --config-dir FOLDER  a folder with groups of your own: FOLDER/model/mine.yaml gives model=mine. It is trusted as a
                       script of yours is: Python files in it can be named in its YAML files
  --cfg job            print the configuration and stop
  --debug              show the traceback of an error

All other options of Hydra work too (--info, --resolve, hydra/launcher=...): --hydra-help lists them."""


def main(arguments: list[str]) -> int:
    """Runs the cells that the overrides ask for, and returns the exit code."""
    if "-h" in arguments or "--help" in arguments:
        folded(HELP)
        return 0
    parsed = parse_arguments(arguments)
    if parsed.cfg and parsed.multirun:
        raise UserError("--cfg shows one configuration: leave out -m")
    only_shown = bool(parsed.cfg or parsed.info or parsed.hydra_help or parsed.shell_completion)
    request = read_request(parsed)
    if only_shown:
        return _hand_over(arguments, request, _nothing)
    # Options first: Hydra reads all overrides in one piece, wherever the user put -m.
    options = [argument for argument in arguments if argument not in parsed.overrides]
    if request.multirun and not parsed.multirun:
        options.append("--multirun")
    return _run(options, request)


class Started(Callback):
    """Notes the results folder of a call, whichever sweeper and launcher it has: conf/config.yaml names this."""

    folder: Path | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before a single job."""
        Started.folder = Path(config.results_dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before a sweep."""
        Started.folder = Path(config.results_dir)


def _run(options: list[str], request: Request) -> int:
    from quantbench.cli.summary import print_summary
    from quantbench.results.files import Unwritable
    from quantbench.run.job import run_job

    # Every job of this call notes its cell in the list of this run; its name travels in the job's own configuration, so
    # that it reaches the workers of any launcher.
    run = f"{time.strftime('%Y%m%dT%H%M%S')}_{secrets.token_hex(4)}"
    os.environ["QUANTBENCH_RUN"] = run
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # a Halt is said once, not once a task
    Started.folder = None
    try:
        arguments = [*options, *request.overrides, f"++hydra.job.env_set.QUANTBENCH_RUN={run}"]
        code = _hand_over(arguments, request, run_job)
    except (Exception, KeyboardInterrupt) as error:
        stopped = interruption(error)
        if stopped:
            tell("interrupted: finished cells are kept; run the same command again to go on")
        if Started.folder is not None and (stopped or not isinstance(error, UserError)):
            with suppress(Unwritable):  # which is then what is raised already
                print_summary(Started.folder, run, broken_off=True)
        if stopped:
            return exit_code(stopped)
        raise
    return code if Started.folder is None else max(code, print_summary(Started.folder, run))


def _nothing(_: object) -> None:
    """The job of a call that only prints: it is never run, and importing the real one takes seconds."""


def _hand_over(arguments: list[str], request: Request, job: Callable[[DictConfig], Any]) -> int:
    """Calls Hydra's own main, so that sweeps, launchers and --cfg work as its users know them."""
    import hydra

    import quantbench.sweep.settings  # noqa: F401  (registers the types of the configuration)

    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["quantbench run", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print in several lines
    try:
        with explained(request.overrides, request.folders):
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=CONFIG_NAME)(job)()
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
