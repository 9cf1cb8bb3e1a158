import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from quantbench.errors import UserError
from quantbench.results.record import COLUMNS, Row
from quantbench.results.rows_csv import rows_from_csv
from tests.report.table_rows import int8, row

DESK = Path(__file__).parents[2] / "results" / "desk" / "results.csv"


def written(path, rows, columns=COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(asdict(found) for found in rows)
    return path


def test_rows_come_back_as_they_were(tmp_path):
    rows = [
        int8(75.0, "percentile", 99.99, cell="a"),
        row(cell="b", status="failed", error='no data: say "path", or\nelse'),
        row(75.0, half=float("inf"), cell="c", fold_bn=True, skip_layers="conv1 fc"),
        row(75.0, cell="d", residual_adds=True, gelu_bound=10.0),
        row(75.0, cell="e", residual_adds=False),
    ]
    assert rows_from_csv(written(tmp_path / "results.csv", rows)) == rows


def test_the_committed_rows():
    first = rows_from_csv(DESK)[0]
    line = DESK.read_text(encoding="utf-8").splitlines()[1].split(",")
    assert (first.cell, first.model) == (line[0], line[2])
    assert isinstance(first.samples, int) and isinstance(first.fp32, float) and first.fold_bn in (True, False)


def test_an_older_file_and_one_that_a_spreadsheet_saved(tmp_path):
    needed = [name for name in COLUMNS if name not in ("torch", "git", "isa", "agreement")]
    path = written(tmp_path / "results.csv", [row(75.0, cell="a")], [*needed, "remark"])
    path.write_text("\ufeff" + path.read_text().replace("50000", "50000.0").replace("False", "FALSE"), encoding="utf-8")
    assert rows_from_csv(path) == [replace(row(75.0, cell="a"), agreement=None)]


def test_nan_is_no_figure(tmp_path):
    path = written(tmp_path / "results.csv", [replace(row(75.0), agreement=float("nan"))])
    assert rows_from_csv(path)[0].agreement is None


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "the file is empty"),
        ("model;task\na;b\n", "it has no column cell, suite"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        ('cell,suite\n"a,b', "cannot be read as CSV"),
        (",".join(COLUMNS) + "\n", "no row to report"),
        (",".join(COLUMNS) + "\na,b\n", "line 2: it has not as many values"),
        (",".join(COLUMNS) + "\n" + "," * len(COLUMNS) + "\n", "line 2: it has not as many values"),
    ],
)
def test_a_file_that_is_no_results_csv_is_refused(tmp_path, content, said):
    path = tmp_path / "results.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=said) as raised:
        rows_from_csv(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name, value", [("fp32", "93,5"), ("samples", "1.5"), ("fold_bn", "maybe"), ("seed", "inf")])
def test_a_value_that_cannot_be_read_is_named(tmp_path, name, value):
    path = written(tmp_path / "results.csv", [row(75.0)])
    with path.open(newline="") as file:
        (line,) = csv.DictReader(file)
    bad = {**line, name: value}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(bad)
    with pytest.raises(UserError, match=f"line 2: {name}={value} is not what stands there"):
        rows_from_csv(path)


@pytest.mark.parametrize("name", ["results.csv", "."])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(UserError, match=r"there is no such file|cannot be read"):
        rows_from_csv(tmp_path / name)


def test_every_column_of_a_row_is_of_a_kind_that_is_read():
    kinds = {str(kind).removesuffix(" | None") for kind in Row.__annotations__.values()}
    assert kinds <= {"str", "int", "float", "bool"}
