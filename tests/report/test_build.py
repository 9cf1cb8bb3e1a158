from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantbench.errors import UserError
from quantbench.report import build as module
from quantbench.report.build import MADE, build
from tests.report.page_sample import MEASURED, sample_figure, sample_results, sample_table


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names of the tables and figures that a report makes, to be changed by a test."""
    names = {"tables": ["table3", "table5"], "figures": ["figure1"]}
    monkeypatch.setattr(module, "tables", lambda _: [sample_table(name) for name in names["tables"]])
    monkeypatch.setattr(module, "figures", lambda _: [sample_figure(name) for name in names["figures"]])
    return names


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def of_tables(*names: str) -> set[str]:
    return {f"tables/{name}.{ending}" for name in names for ending in ("md", "tex", "csv", "html")}


def test_build_writes_everything(made, tmp_path):
    built = build(sample_results(tmp_path, MEASURED))
    wanted = of_tables("table3", "table5") | {"figures/figure1.png", "figures/figure1.svg"}
    assert files(tmp_path) == wanted | {"index.html", MADE}
    assert {path.relative_to(tmp_path).as_posix() for path in (*built.table_files, *built.figure_files)} == wanted
    page = built.page.read_text()
    assert built.page == tmp_path / "index.html"
    assert all(f'href="{name}"' in page for name in wanted)


def test_build_removes_what_it_made_before_and_nothing_else(made, tmp_path):
    build(sample_results(tmp_path, MEASURED))
    (tmp_path / "tables" / "table3_of_mine.csv").write_text("mine")
    (tmp_path / "figures" / "figure9.png").write_text("mine")
    made.update(tables=["table5"], figures=["figure2_a"])
    build(sample_results(tmp_path, MEASURED))
    mine = {"tables/table3_of_mine.csv", "figures/figure9.png"}
    now = of_tables("table5") | {"figures/figure2_a.png", "figures/figure2_a.svg"}
    assert files(tmp_path) == now | mine | {"index.html", MADE}


@pytest.mark.parametrize(
    "listed",
    [
        '["../outside.csv", "tables/../outside.csv", "cells/a.json", "/etc/x.csv", "tables/notes.txt", 3]',
        "{",
        '"tables/a.csv"',
    ],
)
def test_build_removes_nothing_that_a_report_cannot_have_made(made, tmp_path, listed):
    folder = tmp_path / "results"
    for name in ("outside.csv", "cells/a.json", "tables/notes.txt", "tables/a.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("kept")
    (tmp_path / "outside.csv").write_text("kept")
    (folder / MADE).write_text(listed)
    build(sample_results(folder, MEASURED))
    assert {"outside.csv", "cells/a.json", "tables/notes.txt", "tables/a.csv"} <= files(folder)
    assert (tmp_path / "outside.csv").exists()
    assert set(json.loads((folder / MADE).read_text())) == of_tables("table3", "table5") | {
        "figures/figure1.png",
        "figures/figure1.svg",
    }


@pytest.mark.parametrize("blocked", ["tables", "figures/figure1.svg", "index.html"])
def test_build_says_in_one_line_what_it_cannot_write(made, tmp_path, blocked):
    if "." in blocked:
        (tmp_path / blocked).mkdir(parents=True)
    else:
        (tmp_path / blocked).write_text("a file")
    with pytest.raises(UserError) as refusal:
        build(sample_results(tmp_path, MEASURED))
    assert str(tmp_path / blocked) in str(refusal.value)
    assert "\n" not in str(refusal.value)
