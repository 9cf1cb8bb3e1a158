"""How a subcommand reads its arguments."""

from __future__ import annotations

import argparse
from typing import NoReturn

from quantbench.console import folded
from quantbench.errors import UserError


class Parser(argparse.ArgumentParser):
    """Says in one line what it cannot read."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(message)

    def print_help(self, file: object = None) -> None:
        """Prints no line that is longer than the terminal is wide."""
        folded(self.format_help().rstrip())


def columns(text: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)
