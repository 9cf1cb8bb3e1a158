"""The config groups and their choices, by the files that define them; imports neither Hydra nor torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantbench.errors import UserError, in_one_line

CONFIG_NAME = "config"
_HEAD = 4096  # letters of a file that may hold its description


def conf_folder() -> Path:
    """The folder of the configuration files: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


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
    config = load_yaml(conf_folder() / f"{CONFIG_NAME}.yaml")
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


def load_yaml(file: Path) -> dict[str, Any]:
    """The content of a file of configuration. Raises UserError."""
    import yaml

    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {in_one_line(error)}") from error
    return loaded if isinstance(loaded, dict) else {}


def keys_of(file: Path) -> set[str]:
    """The dotted names of all keys of a file of configuration, its list of defaults left out."""
    return set(_names({key: value for key, value in load_yaml(file).items() if key != "defaults"}, ""))


def _names(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
