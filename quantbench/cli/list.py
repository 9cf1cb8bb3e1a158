"""`quantbench list`: what can be chosen, by the first comment line of each file; imports neither Hydra nor torch."""

from __future__ import annotations

from pathlib import Path

from quantbench.cli.arguments import Parser
from quantbench.console import row, show, table
from quantbench.errors import UserError, nearest
from quantbench.sweep.groups import conf_folder, defaults, describe, find_groups


def main(arguments: list[str]) -> int:
    """Prints the groups and their choices; a * marks the default."""
    parser = Parser("quantbench list", description="List what can be chosen; a * marks the default.")
    parser.add_argument("group", nargs="?", help="only this group, such as model")
    parser.add_argument("--config-dir", "-cd", type=Path, metavar="FOLDER", help="a folder with groups of your own")
    options = parser.parse_args(arguments)
    folders = [conf_folder()]
    if options.config_dir is not None:
        if not options.config_dir.is_dir():
            raise UserError(f"--config-dir: no folder {options.config_dir}")
        folders.append(options.config_dir)

    groups = find_groups(folders)
    if options.group is not None:
        if options.group not in groups:
            raise UserError(f"no group {options.group}: {nearest(options.group, groups)}")
        groups = {options.group: groups[options.group]}
    chosen = defaults()
    result = table("choice", "", "description")
    for group, choices in groups.items():
        for choice, file in choices.items():
            row(result, f"{group}={choice}", "*" if chosen.get(group) == choice else "", describe(file))
    show(result)
    return 0
