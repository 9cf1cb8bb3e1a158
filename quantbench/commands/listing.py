"""`quantbench list`: what can be chosen, by the first comment line of each file; imports neither Hydra nor torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from quantbench.config import CONFIG_NAME, conf_folder, nearest
from quantbench.console import row, show, table
from quantbench.errors import UserError


def main(arguments: list[str]) -> int:
    """Prints the groups and their choices; a * marks the default."""
    parser = argparse.ArgumentParser("quantbench list", description="List what can be chosen; a * marks the default.")
    parser.add_argument("group", nargs="?", help="only this group, such as model")
    parser.add_argument("--config-dir", "-cd", type=Path, help="a folder with groups of your own")
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


def find_groups(folders: list[Path]) -> dict[str, dict[str, Path]]:
    """Group -> choice -> file, in the order of config.yaml's defaults, then by name. The first folder wins."""
    found: dict[str, dict[str, Path]] = {group: {} for group in defaults()}
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            group = file.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault(group, {}).setdefault(file.stem, file)
    return found


def defaults() -> dict[str, str]:
    """Group -> the choice that config.yaml makes."""
    import yaml

    config: dict[str, Any] = yaml.safe_load((conf_folder() / f"{CONFIG_NAME}.yaml").read_text(encoding="utf-8"))
    entries = [entry for entry in config["defaults"] if isinstance(entry, dict)]
    pairs = [(str(group), str(choice)) for entry in entries for group, choice in entry.items()]
    return {group: choice for group, choice in pairs if not group.startswith("override ")}


def describe(file: Path) -> str:
    """The first comment line of a YAML file, leaving out Hydra's own `# @package ...`."""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.lstrip("#").strip()
        if line.startswith("#") and text and not text.startswith("@"):
            return text
        if line and not line.startswith("#"):
            break
    return ""
