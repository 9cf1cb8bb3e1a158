"""The command line. Thin: finds the subcommand, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 something failed that should not, 2 the user gave something that cannot be used, 130 interrupted,
143 and 129 ended by SIGTERM and SIGHUP.
Nothing heavy is imported here, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from quantbench import __version__ as VERSION
from quantbench.errors import Ended, UserError, exit_code, interruption

# name -> (module with main(arguments) -> exit code, one line for --help)
COMMANDS = {
    "run": ("quantbench.cli.run", "quantize a network, evaluate it, write a row"),
    "report": ("quantbench.cli.report", "write tables, figures and a page from the records"),
    "check": ("quantbench.cli.check", "the gate: fail where quantization costs more than it used to"),
    "compare": ("quantbench.cli.compare", "show two results side by side"),
    "inspect": ("quantbench.cli.inspect", "show the layers of a network and their sites"),
    "plot": ("quantbench.cli.plot", "draw the histogram of a site, or the paper's figures"),
    "list": ("quantbench.cli.list", "list the networks, tasks and other choices"),
    "doctor": ("quantbench.cli.doctor", "show versions, device, caches and what is reachable"),
    "assets": ("quantbench.cli.assets", "list, fetch or verify weights and data"),
}
# How often a thread of GNU's OpenMP, which torch brings, looks for new work before it sleeps. By default 300,000 times:
# quickest on a quiet machine, but where other processes need the cores, the thread that has work waits for those that
# spin. docs/speed.md has the figures.
SPIN_COUNT = "2000"
OPENMP_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # what a user may have set


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    _spin_briefly()
    debug = "--debug" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with _signals_interrupt():
            code = _dispatch(arguments)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # The reader went away, as in `quantbench list | head -1`; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if stopped := interruption(error):
            return _say("interrupted", exit_code(stopped))
        if debug:
            raise
        return _failed(error)


def _failed(error: BaseException) -> int:
    if isinstance(error, UserError):
        return _say(str(error), 2)
    from quantbench.errors import is_full, one_line

    if is_full(error):
        return _say(f"the output cannot be written ({one_line(error)}); free some space", 2)
    return _say(f"{type(error).__name__}: {one_line(error)} (--debug shows where)", 1)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        from quantbench.console import folded

        folded(_help())
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"quantbench {VERSION}")
        return 0
    if name not in COMMANDS:
        from quantbench.errors import nearest

        raise UserError(f"no command {name}: {nearest(name, COMMANDS)}")
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the working folder cannot be used ({error.strerror}): change into another one") from error
    code: int = import_module(COMMANDS[name][0]).main(rest)
    return code


def _help() -> str:
    commands = "\n".join(f"  {name:<9} {summary}" for name, (_, summary) in COMMANDS.items())
    return f"""usage: quantbench COMMAND [ARGUMENTS]

Measures what int8 quantization does to a network's accuracy.

commands:
{commands}

options:
  -h, --help   this text; quantbench COMMAND --help for the command's own
  --version    the version
  --debug      show the traceback of an error

examples:
  quantbench run
  quantbench run model=mobilenet_v2_fashion calib=entropy granularity=per_tensor
  quantbench run -m calib=max,entropy,percentile weight_bits=4,8"""


def _say(message: str, code: int) -> int:
    from quantbench.console import say

    say(message)
    return code


def _spin_briefly() -> None:
    """Let idle threads leave the cores to others soon: read when torch is imported, here or in a launcher's worker."""
    if not any(name in os.environ for name in OPENMP_WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """The signals of CI, Slurm and a closing terminal end the program as Ctrl-C does.

    One that is ignored, as nohup does with SIGHUP, stays so.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    Ended.last = None
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)


def _open_streams() -> None:
    """Let standard output and error take every text, whatever the locale, and a closed stream lead nowhere.

    The number of a closed stream would be given to the next file that is opened, and what is printed go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
