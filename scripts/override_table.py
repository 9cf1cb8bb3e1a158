"""Writes docs/overrides.md from the comments in conf/: what can be said after `quantbench run`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from quantbench.sweep.groups import conf_folder, defaults, describe, find_groups

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "overrides.md"
KEY = re.compile(r"^(\w+): *(.*?) +# +(.+)$")
PLAIN_KEY = re.compile(r"^(?!defaults:|hydra:)(\w+):")
HEADER = """# Overrides

Written by `make docs` from the comments in `conf/`; do not edit.

Say `key=value` after `quantbench run`. With `-m`, a list of values (`calib=max,entropy`) sweeps over all combinations.
"""


def keys(file: Path) -> dict[str, tuple[str, str]]:
    """Key -> (default, meaning), of the keys at the top of a YAML file that have a comment beside them."""
    matches = (KEY.match(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {match[1]: (match[2], match[3]) for match in matches if match and match[1] not in ("defaults", "hydra")}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def choice_rows() -> list[tuple[str, ...]]:
    """One row a choice of a group; the default in bold."""
    chosen = defaults()
    rows = []
    for group, choices in find_groups([conf_folder()]).items():
        for choice, file in choices.items():
            name = f"`{group}={choice}`"
            rows.append((f"**{name}**" if chosen.get(group) == choice else name, describe(file)))
    return rows


def key_rows() -> list[tuple[str, ...]]:
    """One row a key: those of config.yaml, then those of the groups' choices."""
    config = conf_folder() / "config.yaml"
    found = keys(config)
    missing = [name[1] for name in map(PLAIN_KEY.match, config.read_text(encoding="utf-8").splitlines()) if name]
    missing = [name for name in missing if name not in found]
    if missing:
        sys.exit(f"conf/config.yaml: no comment beside {', '.join(missing)}")
    rows = [(f"`{name}`", f"`{default}`", meaning) for name, (default, meaning) in found.items()]
    for group, choices in find_groups([conf_folder()]).items():
        # A key may have one default in one choice and another in the next: each is named with its choices.
        owners: dict[str, dict[str, list[str]]] = {}
        meanings: dict[str, str] = {}
        for choice, file in choices.items():
            for name, (default, meaning) in keys(file).items():
                owners.setdefault(name, {}).setdefault(default, []).append(choice)
                if meanings.setdefault(name, meaning) != meaning:
                    sys.exit(f"{file}: the comment beside {name} differs from that of another {group}")
        for name, defaults_of in owners.items():
            everywhere = list(defaults_of.values()) == [list(choices)]
            texts = [
                f"`{default}`" + ("" if everywhere else f" ({', '.join(names)})")
                for default, names in defaults_of.items()
            ]
            rows.append((f"`{group}.{name}`", "; ".join(texts), meanings[name]))
    return rows


def render() -> str:
    """The whole page."""
    choices = table(("choice (**default**)", "meaning"), choice_rows())
    return f"{HEADER}\n## Choices\n\n{choices}\n\n## Keys\n\n{table(('key', 'default', 'meaning'), key_rows())}\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if OUTPUT.read_text(encoding="utf-8") == render() else f"{OUTPUT} is not current: run make docs")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(render(), encoding="utf-8")
