from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from quantbench.report.figures.figure import save
from quantbench.report.page import page
from tests.report.page_sample import (
    COMMAND,
    ERROR,
    MEASURED,
    NASTY,
    NOTHING,
    OTHER,
    UNSUPPORTED,
    sample_figure,
    sample_results,
    sample_table,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster")


class Reader(HTMLParser):
    """What a browser would see: the elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("style", "script"):
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def read(tmp_path: Path, *rows, problems=(), tables=(), figures=()) -> Reader:
    results = sample_results(tmp_path, *(rows or (MEASURED, OTHER)), problems=problems)
    return Reader(page(results, list(tables), list(figures), tmp_path))


def test_page_needs_nothing_from_outside(tmp_path):
    save(sample_figure(), tmp_path / "figures")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "table5.csv").write_text("")
    seen = read(tmp_path, MEASURED, ERROR, tables=[sample_table()], figures=[sample_figure()])
    addresses = [attributes[name] for _, attributes in seen.elements for name in ADDRESSES if name in attributes]
    outside = [a for a in addresses if a and not a.startswith(("#", "data:", "tables/", "figures/"))]
    assert len(addresses) > 8
    assert outside == []
    (policy,) = [a for a in seen.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith(POLICY)
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)


def test_untrusted_texts_stay_texts(tmp_path):
    rows = [
        replace(MEASURED, suite=NASTY, task=NASTY, isa=NASTY),
        replace(ERROR, suite=NASTY),
        replace(OTHER, suite=NASTY),
    ]
    results = sample_results(tmp_path, *rows, problems=(NASTY,))
    results.details[MEASURED.cell].update(command=NASTY, network={"weights": NASTY, "preprocessing": NASTY})
    results.details[OTHER.cell]["versions"] = {NASTY: NASTY}
    seen = Reader(page(results, [sample_table()], [sample_figure()], tmp_path))
    assert len(seen.all("script")) == 1
    assert [image["alt"] for image in seen.all("img")] == [f"Alt {NASTY}"]
    # suite twice (title, heading), task and its mention in the head and the table of networks, model, reason, ...
    assert seen.text.count(NASTY) > 15


def test_failures_stand_before_everything_else(tmp_path):
    text = read(
        tmp_path, MEASURED, ERROR, UNSUPPORTED, problems=("cells/x.json: no record",), tables=[sample_table()]
    ).text
    top = text[: text.index("Title of table5")]
    assert "3 networks, 3 cells: 1 measured, 1 failed, 1 not supported." in top
    for said in (f"unexpected: {NASTY}", "cells/x.json: no record", "jasper: not built (1 cell)"):
        assert said in top


def test_a_page_where_nothing_went_wrong_has_no_section_for_it(tmp_path):
    seen = read(tmp_path)
    assert "What is missing" not in seen.text
    assert "2 networks, 2 cells: 2 measured, 0 failed, 0 not supported." in seen.text


def test_failures_lead_to_their_cells(tmp_path):
    seen = read(tmp_path, MEASURED, ERROR)
    assert "#cell-cccccccccccc" in [a.get("href") for a in seen.all("a")]
    assert "cell-cccccccccccc" in [row.get("id") for row in seen.all("tr")]


def test_only_failures_still_give_a_page(tmp_path):
    text = read(tmp_path, ERROR).text
    assert "1 network, 1 cell: 0 measured, 1 failed, 0 not supported. No cell was measured." in text
    assert "Networks in float" not in text


def test_every_cell_has_its_command(tmp_path):
    results = sample_results(tmp_path, MEASURED, OTHER)
    del results.details[OTHER.cell]["command"]
    text = Reader(page(results, [], [], tmp_path)).text
    assert text.count(COMMAND) == 1
    assert "avx512_vnni" in text
    assert text.count("not recorded photos bbbbbbbbbbbb") == 1


def test_environment_is_one_value_or_all_of_them(tmp_path):
    same = read(tmp_path).text
    assert "instruction set avx512_vnni threads 2" in same
    assert "not all measured in the same environment" not in same
    differing = read(tmp_path, MEASURED, replace(OTHER, isa="avx2")).text
    assert "They differ in: instruction set." in differing
    assert "instruction set avx512_vnni: 1 cell of alpha avx2: 1 cell of beta threads 2" in differing


def test_links_only_what_is_there(tmp_path):
    (tmp_path / "tables").mkdir()
    for name in ("table5.csv", "table5.tex", "table4.csv"):
        (tmp_path / "tables" / name).write_text("")
    seen = read(tmp_path, tables=[sample_table()], figures=[sample_figure()])
    links = [a["href"] for a in seen.all("a") if "/" in str(a.get("href"))]
    assert links == ["tables/table5.csv", "tables/table5.tex"]


def test_figures_are_embedded_as_they_lie_in_their_files(tmp_path):
    _, svg = save(sample_figure(), tmp_path / "figures")
    (image,) = read(tmp_path, figures=[sample_figure()]).all("img")
    kind, _, content = str(image["src"]).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == svg.read_bytes()


def test_tables_with_a_place_of_their_own_are_not_shown_twice(tmp_path):
    tables = [sample_table(name) for name in ("table5", "failures", "rows")]
    assert [t.get("id") for t in read(tmp_path, tables=tables).all("table")] == [
        "table5",
        None,
        "networks",
        "cell-list",
    ]


def test_the_same_results_give_the_same_page(tmp_path):
    pages = [
        page(sample_results(tmp_path, MEASURED, ERROR), [sample_table()], [sample_figure()], tmp_path) for _ in "ab"
    ]
    assert pages[0] == pages[1]


def test_a_task_without_a_metric_has_no_figure_that_looks_like_one(tmp_path):
    run = replace(MEASURED, task="synthetic", **NOTHING, samples=8, layers=None)
    seen = read(tmp_path, run)
    assert "synthetic (no accuracy, 8 samples)" in seen.text and "alpha synthetic none 8 " in seen.text
    assert "None" not in seen.text
    assert "None" not in [attributes.get("data-value") for _, attributes in seen.elements]
