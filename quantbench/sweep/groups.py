"""The config groups and their choices, by the files that define them; imports neither Hydra nor torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_HEAD = 4096  # letters of a file that may hold its description


def find_groups(folders: list[Path]) -> dict[str, dict[str, Path]]:
    """Group -> choice -> file, in the order of config.yaml's defaults, then by name. The first folder wins."""
    found: dict[str, dict[str, Path]] = {group: {} for group in defaults()}
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            group = file.parent.relative_to(folder).as_posix()
            if group not in (".", "hydra/sweeper"):  # the sweeper is no user's choice
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
    with file.open(encoding="utf-8", errors="replace") as opened:
        head = opened.read(_HEAD)
    for line in head.splitlines():
        text = line.lstrip("#").strip()
        if line.startswith("#") and text and not text.startswith("@"):
            return text
        if line and not line.startswith("#"):
            break
    return ""


CONFIG_NAME = "config"


def conf_folder() -> Path:
    """The folder of the configuration files: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
