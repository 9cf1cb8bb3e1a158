import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from quantbench.errors import UserError
from quantbench.results import store
from quantbench.results.load import load_results
from quantbench.results.record import COLUMNS, Record
from tests.gate.gate_rows import answers, frame, measured
from tests.report.table_rows import int8, row
from tests.shared import ROW

DESK = Path(__file__).parents[2] / "results" / "desk" / "results.csv"
TEXTS = ["=cmd|'/C calc'!A0", "-1", "'", "'=1", " text ", 'a\r\nb,c;d "e"', "\n=1", "\u202e::error::"]


def written(path, *rows, columns=COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(found if isinstance(found, dict) else asdict(found) for found in rows)
    return path


def refused(path):
    with pytest.raises(UserError) as refusal:
        load_results(path)
    assert str(refusal.value).startswith(str(path)) and "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_folder_gives_records_and_samples_and_names_what_is_damaged(tmp_path):
    scores = answers(10, 1)
    found = measured(*scores)
    store.write_record(tmp_path, Record(found, {"command": "again"}, frame(*scores)))
    (tmp_path / "cells" / "bbbbbbbbbbbb.json").write_text("{")
    written(tmp_path / "results.csv", replace(found, quantized=1.0))
    loaded = load_results(tmp_path)
    assert loaded.rows == [found] and loaded.details[found.cell]["command"] == "again"
    assert loaded.samples(found.cell)["quantized"].tolist() == scores[1].tolist()
    assert loaded.samples("cccccccccccc") is None
    assert loaded.histograms(found.cell) == {}
    assert [problem.split(":")[0] for problem in loaded.problems] == [str(tmp_path / "cells" / "bbbbbbbbbbbb.json")]


def test_a_folder_without_records_and_a_file_give_the_csv(tmp_path):
    path = written(tmp_path / "results.csv", ROW)
    for given in (path, tmp_path):
        found = load_results(given)
        assert (found.path, found.rows, found.details) == (path, [ROW], {})
        assert found.samples(ROW.cell) is None and found.histograms(ROW.cell) == {}


def test_the_suite_is_that_of_the_rows_or_else_the_folder(tmp_path):
    assert load_results(written(tmp_path / "results.csv", ROW)).suite == "desk"
    both = [ROW, replace(ROW, cell="b", suite="paper")]
    for found in both:
        store.write_record(tmp_path / "mine", Record(found))
    assert load_results(tmp_path / "mine").suite == "mine"


def test_samples_that_the_record_was_not_made_with_are_one_line(tmp_path):
    scores = answers(10, 1)
    store.write_record(tmp_path, Record(ROW, {}, frame(*scores)))
    loaded = load_results(tmp_path)
    frame(*answers(10, 2)).to_csv(store.samples_path(tmp_path, ROW.cell), index=False)
    with pytest.raises(UserError, match="its checksum is not the one in the record"):
        loaded.samples(ROW.cell)


def test_rows_come_back_as_they_were(tmp_path):
    rows = [
        int8(75.0, "percentile", 99.99, cell="a"),
        row(cell="b", status="failed", error='no data: say "path", or\nelse'),
        row(75.0, cell="c", fold_bn=True, skip_layers="conv1 fc", model_options="width=2"),
        row(75.0, cell="d", residual_adds=True, gelu_bound=10.0),
    ]
    found = load_results(written(tmp_path / "results.csv", *rows)).rows
    assert found == rows and found[0].percentile == 99.99


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_of_a_row_and_of_its_samples_comes_back(tmp_path, text):
    scores = frame(*answers(2, 1)).assign(sample=["a", text], target=[text, "b"])
    found = replace(ROW, model=text, skip_layers=text, error=text, device=text)
    store.write_record(tmp_path, Record(found, {}, scores))
    store.derive_csv(tmp_path)
    assert load_results(tmp_path / "results.csv").rows == [found]
    samples = load_results(tmp_path).samples(ROW.cell)
    assert set(samples.index) == {"a", text} and samples.loc["a", "target"] == text


def test_the_committed_rows():
    rows = load_results(DESK).rows
    line = DESK.read_text(encoding="utf-8").splitlines()[1].split(",")
    assert (rows[0].cell, rows[0].model) == (line[0], line[2])
    assert {found.percentile for found in rows} == {None, 99.9, 99.99, 99.999, 99.9999}


def test_an_older_file_and_one_that_a_spreadsheet_saved(tmp_path):
    needed = [name for name in COLUMNS if name not in ("torch", "git", "isa", "agreement")]
    path = written(tmp_path / "results.csv", row(75.0, cell="a"), columns=[*needed, "remark"])
    path.write_text("\ufeff" + path.read_text().replace("50000", "50000.0").replace("False", "FALSE"), encoding="utf-8")
    assert load_results(path).rows == [replace(row(75.0, cell="a"), agreement=None)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has no column cell, suite"),
        (b"a;b\n1;2\n", "it has no column"),
        (b"\xff\xfe\x00", "can't decode"),
        (b"cell," + b"x" * 200_000 + b"\n", "field larger than field limit"),
        ((",".join(COLUMNS) + "\n").encode(), "it has no row"),
        ((",".join(COLUMNS) + "\na,b\n").encode(), "line 2: it has not as many values"),
    ],
)
def test_what_is_no_results_csv_is_one_line(tmp_path, content, said):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    message = refused(path)
    assert "no results.csv of quantbench" in message and said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fp32": "nan"}, "fp32, quantized or samples is missing"),
        ({"fp32": "1e300"}, "fp32 is no finite number"),
        ({"fp32": "93,5"}, "line 2: fp32 is '93,5'"),
        ({"fold_bn": "maybe"}, "fold_bn is 'maybe'"),
        ({"samples": "1.5"}, "samples is '1.5'"),
        ({"samples": "1e400"}, "samples is '1e400'"),
        ({"change_low": 5.0, "change_high": -5.0}, "change_low is above change_high"),
    ],
)
def test_a_value_that_no_run_writes_is_one_line(tmp_path, change, said):
    assert said in refused(written(tmp_path / "results.csv", {**asdict(ROW), **change}))


def test_what_is_not_there(tmp_path):
    assert "there is no such file" in refused(tmp_path / "nothing.csv")
    assert "no record and no results.csv" in refused(tmp_path)
