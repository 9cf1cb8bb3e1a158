"""The rooms of the package: what stands in it, and that imports run one way."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "quantbench"
# Each room imports only from those before it. What shares a place knows nothing of the other.
ORDER = [
    {"errors", "console"},
    {"assets"},
    {"lookup"},
    {"quant"},
    {"tasks.metrics"},
    {"results"},
    {"networks", "tasks"},
    {"methods"},
    {"backends"},
    {"sweep"},
    {"run"},
    {"report"},
    {"gate"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
LEAVES = ORDER[0]
NO_TORCH = ("assets", "results", "report", "gate", "tasks.metrics")
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """The room of a module below quantbench, such as `tasks.metrics` of `tasks.metrics.metric`."""
    first, _, rest = module.partition(".")
    return "tasks.metrics" if first == "tasks" and rest.split(".")[0] == "metrics" else first


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, below: str) -> set[str]:
    """What a file imports of a package, anywhere in it: module names below the package, or names in its __init__."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and (node.module + ".").startswith(f"{below}."):
            inner = node.module.removeprefix(below).lstrip(".")
            found |= {inner} if inner else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix(below).lstrip(".")
                for alias in node.names
                if (alias.name + ".").startswith(f"{below}.")
            }
    return found


def test_the_package_has_these_rooms():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__"} == {room for room in RANK if "." not in room}


def test_no_file_has_more_than_300_lines():
    files = [*FILES, *(file for folder in ("tests", "scripts") for file in (PACKAGE.parent / folder).rglob("*.py"))]
    assert [file for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 300] == []


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_run_one_way(file):
    here = room_of(module_of(file))
    if here in RANK:
        for module in imported(file, "quantbench") - {"", "__version__"}:
            room = room_of(module)
            same_leaf = here in LEAVES and room in LEAVES
            assert room == here or same_leaf or RANK[room] < RANK[here], f"{here} imports {module}"


@pytest.mark.parametrize("file", [f for f in FILES if room_of(module_of(f)) in NO_TORCH], ids=module_of)
def test_rooms_that_need_no_torch_import_none(file):
    top = ast.parse(file.read_text(encoding="utf-8")).body
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert not any(name.split(".")[0] == "torch" or name.startswith("quantbench.quant") for name in names)
