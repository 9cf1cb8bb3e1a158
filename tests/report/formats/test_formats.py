import csv
import io
import re
from html.parser import HTMLParser

import pandas as pd
from markdown_it import MarkdownIt

from quantbench.report.formats import FORMATS, write
from quantbench.report.formats.csv import as_csv
from quantbench.report.formats.html import as_html
from quantbench.report.formats.latex import as_latex
from quantbench.report.formats.markdown import as_markdown
from quantbench.report.tables.table import MISSING, Item, Table

NASTY = """<script>alert("x & y")</script> a_b _c_ 100 % #1 {z} \\ ~^ $5 |*`'"""

GRID = Table(
    name="table5",
    title="Calibrations",
    caption="What | it is: 5 %.",
    columns=("network", "source", "fp32", "max"),
    rows=(
        (
            Item("my_net"),
            Item("measured"),
            Item("93.58", 93.58, flagged=True, note="is off"),
            Item("82.83 ±0.70", 82.83, best=True, large_drop=True, half_width=0.7, relative_change=-0.1149, note="n"),
        ),
        (
            Item("Net", paper=True),
            Item("paper (same)", paper=True),
            Item("76.16", 76.16, confidence="consistent", paper=True),
            Item(MISSING, paper=True),
        ),
        (Item("other"), Item("measured"), Item(MISSING), Item("failed")),
    ),
    notes=("other: failed",),
    keys=2,
)
LIST = Table(
    name="list",
    title="A list",
    caption="Of things",
    columns=("network", "change", "beside", "what happened"),
    rows=(
        (Item("a"), Item("-0.50 ±0.10", -0.5, half_width=0.1), Item("1.00", 1.0, confidence="doubtful"), Item("=1+1")),
        (Item("b"), Item("failed"), Item(MISSING), Item("-x")),
    ),
)


def test_markdown_as_it_is_read():
    assert as_markdown(GRID) == (
        "### Calibrations\n"
        "\n"
        "What | it is: 5 %.\n"
        "\n"
        "| network | source       |      fp32 |               max |\n"
        "| ------- | ------------ | --------: | ----------------: |\n"
        "| my_net  | measured     |   93.58 ‡ | **82.83 ±0.70** ↓ |\n"
        f"| Net     | paper (same) | 76.16 (s) |                 {MISSING} |\n"
        f"| other   | measured     |         {MISSING} |            failed |\n"
        "\n"
        "- other: failed\n"
    )


def test_markdown_means_what_was_written():
    nasty = NASTY.replace("~^", "~ ^")
    made = as_markdown(Table("x", nasty, nasty, (nasty,), ((Item(nasty),),), (nasty,)))
    parsed = MarkdownIt("commonmark").enable("table").parse(made)
    shown = ["".join(child.content for child in token.children) for token in parsed if token.type == "inline"]
    assert shown == [nasty] * 5
    kinds = {child.type for token in parsed for child in token.children or []}
    assert kinds <= {"text", "text_special"}


def test_a_line_break_or_a_control_character_does_not_break_a_table():
    for made in (as_markdown, as_csv):
        text = made(Table("x", "t", "c", ("a", "b"), ((Item("one\ntwo\x1b[31m"), Item("z")),)))
        assert "one two[31m" in text and "\x1b" not in text


def test_latex():
    made = as_latex(GRID)
    assert r"\caption{Calibrations. What \textbar{} it is: 5 \%.}" in made
    assert r"\begin{tabular}{llrr}" in made and r"\label{tab:table5}" in made
    assert r"my\_net & measured & 93.58 $\ddagger$ & \textbf{82.83 $\pm$0.70} $\downarrow$ \\" in made
    assert r"Net & paper (same) & 76.16\textsuperscript{s} & -- \\" in made
    assert "other: failed" in made[made.index(r"\end{tabular}") :]
    assert r"$-$0.50 $\pm$0.10 & 1.00\textsuperscript{d}" in as_latex(LIST)


def test_latex_has_no_character_that_means_something():
    made = as_latex(Table("x", "t", "c", ("a",), ((Item(NASTY),),)))
    (cell,) = [line for line in made.splitlines() if "script" in line]
    bare = re.sub(r"\\text\w+\{\}|\\[_%#{}$&\\]", "", cell.removesuffix(r" \\"))
    assert not set(bare) & set('\\{}$&#%_~^<>|"`')


def test_latex_breaks_long_texts():
    made = as_latex(Table("x", "t", "c", ("a", "b"), ((Item("word " * 20), Item("[1]")),)))
    assert r"\begin{tabular}{p{0.90\linewidth}l}" in made
    assert "& {}[1]" in made


def test_csv_in_long_form_loads_without_options():
    data = pd.read_csv(io.StringIO(as_csv(GRID)))
    assert list(data.columns[:4]) == ["network", "source", "column", "value"]
    assert data.shape == (6, 12)
    assert data.value.dtype == float and data.best.dtype == bool
    best = data[data.best].iloc[0]
    assert (best.network, best["column"], best.value, best.half_width) == ("my_net", "max", 82.83, 0.7)
    assert (best.relative_change, best.large_drop, best.note) == (-0.1149, True, "n")
    assert list(data.status) == ["ok", "ok", "ok", "missing", "missing", "failed"]
    assert list(data.confidence.dropna()) == ["consistent"] and list(data[data.flagged].value) == [93.58]
    wide = data.pivot(index=["network", "source"], columns="column", values="value")
    assert wide.loc[("my_net", "measured"), "max"] == 82.83


def test_csv_with_a_line_a_row():
    lines = list(csv.reader(io.StringIO(as_csv(LIST))))
    assert lines == [
        ["network", "change", "change half width", "beside", "beside confidence", "what happened"],
        ["a", "-0.5", "0.1", "1", "doubtful", "=1+1"],
        ["b", "", "", "", "", "-x"],
    ]


def test_csv_numbers_have_no_binary_noise_and_stay_numbers():
    items = (Item("0.30", 0.1 + 0.2), Item("∞", float("inf")), Item("50,000", 50_000.0), Item("-0.02", -0.02))
    text = as_csv(Table("x", "t", "c", ("a", "b", "c", "d"), (items,)))
    assert text == "a,b,c,d\n0.3,inf,50000,-0.02\n"


class Page(HTMLParser):
    """The elements of a fragment: (tag, attributes, text)."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(len(self.found))
        self.found.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self.found[self.open.pop()][0] == tag

    def handle_data(self, data):
        for place in self.open:
            self.found[place][2] += data

    def all(self, tag):
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def test_html():
    page = Page(as_html(GRID))
    assert page.all("table")[0][0] == {"class": "sortable", "id": "table5"}
    assert page.all("caption")[0][1] == "Calibrations. What | it is: 5 %."
    assert [text for _, text in page.all("th")] == ["network", "source", "fp32", "max"]
    assert [attributes.get("class") for attributes, _ in page.all("tr")] == [None, None, "paper", None]
    cells = page.all("td")
    assert cells[2] == ({"class": "number off", "data-value": "93.58", "title": "is off"}, "93.58 ‡")
    assert cells[3] == ({"class": "number best drop", "data-value": "82.83", "title": "n"}, "82.83 ±0.70 ↓")
    assert cells[6] == ({"class": "number paper", "data-value": "76.16"}, "76.16s")
    assert cells[11] == ({"class": "number"}, "failed")
    assert [text for _, text in page.all("li")] == ["other: failed"]
    assert page.all("strong")[1][1] == "82.83 ±0.70" and page.all("sup")[0][1] == "s"


def test_html_escapes_everything():
    made = Table(NASTY, NASTY, NASTY, (NASTY,), ((Item(NASTY, note=NASTY, confidence=NASTY),),), (NASTY,))
    page = Page(as_html(made))
    known = {"table", "caption", "strong", "thead", "tbody", "tr", "th", "td", "sup", "ul", "li"}
    assert {tag for tag, *_ in page.found} <= known
    assert page.all("th")[0][1] == NASTY and page.all("li")[0][1] == NASTY
    assert page.all("td")[0][0]["title"] == NASTY


def test_write_makes_one_file_a_format(tmp_path):
    paths = write(GRID, tmp_path / "new" / "tables")
    assert [path.name for path in paths] == ["table5.md", "table5.tex", "table5.csv", "table5.html"]
    assert [path.read_text(encoding="utf-8") for path in paths] == [
        as_markdown(GRID),
        as_latex(GRID),
        as_csv(GRID),
        as_html(GRID),
    ]
    assert sorted(path.name for path in (tmp_path / "new" / "tables").iterdir()) == sorted(p.name for p in paths)


def test_write_keeps_to_the_formats_of_the_table(tmp_path):
    only = Table("rows", "t", "c", ("a",), ((Item("x"),),), formats=("csv", "html"))
    assert [path.suffix for path in write(only, tmp_path)] == [".csv", ".html"]


def test_a_table_without_rows_is_rendered(tmp_path):
    empty = Table("x", "t", "c", ("a", "b"), ())
    assert as_markdown(empty).endswith("| a   | b   |\n| --- | --- |\n")
    assert as_csv(empty) == "a,b\n"
    assert all(FORMATS[kind](empty) for kind in empty.formats)
