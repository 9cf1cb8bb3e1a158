import csv
import os
from dataclasses import asdict, replace

import pytest

from quantbench.errors import UserError
from quantbench.results import load_side as side_module
from quantbench.results import store
from quantbench.results.load_side import read_side
from quantbench.results.record import COLUMNS, Record
from tests.gate.gate_rows import answers, frame, measured
from tests.shared import ROW


def written(path, *rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    return path


def test_a_folder_gives_records_and_samples_and_names_what_is_damaged(tmp_path):
    scores = answers(10, 1)
    row = measured(*scores)
    store.write_record(tmp_path, Record(row, {}, frame(*scores)))
    (tmp_path / "cells" / "bbbbbbbbbbbb.json").write_text("{")
    written(tmp_path / "results.csv", replace(row, quantized=1.0))
    found = read_side(tmp_path)
    assert found.rows == (row,)
    assert found.samples(row.cell)["quantized"].tolist() == scores[1].tolist()
    assert found.samples("cccccccccccc") is None
    assert [problem.split(":")[0] for problem in found.problems] == [str(tmp_path / "cells" / "bbbbbbbbbbbb.json")]


def test_a_folder_without_records_and_a_file_give_the_csv(tmp_path):
    path = written(tmp_path / "results.csv", ROW)
    for given in (path, tmp_path):
        found = read_side(given)
        assert (found.rows, found.has_samples) == ((ROW,), False)
        assert found.samples(ROW.cell) is None


def test_a_second_metric_is_a_row_of_its_own(tmp_path):
    row = replace(
        ROW,
        metric="f1",
        p_value=0.1,
        secondary_metric="exact_match",
        secondary_fp32=80.0,
        secondary_quantized=79.0,
        secondary_change=-1.0,
        secondary_change_low=-2.0,
        secondary_change_high=0.0,
    )
    first, second = read_side(written(tmp_path / "results.csv", row)).rows
    assert first == row
    assert (second.metric, second.fp32, second.quantized, second.change_low) == ("exact_match", 80.0, 79.0, -2.0)
    assert second.p_value is None and second.cell == row.cell


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fp32": "nan"}, "fp32, quantized or samples is missing"),
        ({"fp32": "inf"}, "fp32 is no finite number"),
        ({"quantized": "1e300"}, "quantized is no finite number"),
        ({"samples": 0}, "fp32, quantized or samples is missing"),
        ({"change_low": 5.0, "change_high": -5.0}, "change_low is above change_high"),
        ({"fp32": "ninety"}, "fp32=ninety is not what stands there"),
        ({"samples": "1e400"}, "samples=1e400 is not what stands there"),
    ],
)
def test_bad_numbers_are_one_line(tmp_path, change, said):
    path = tmp_path / "results.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow({**asdict(ROW), **change})
    with pytest.raises(UserError) as refusal:
        read_side(path)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"a,b\n1,2\n", "it has no column"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (b"cell," + b"x" * 200_000 + b"\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_results_csv_is_one_line(tmp_path, content, said):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read_side(path)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_too_large_a_device_and_nothing_at_all(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no such file"):
        read_side(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="neither records nor"):
        read_side(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a file"):
        read_side(tmp_path / "pipe")
    path = written(tmp_path / "results.csv", ROW)
    monkeypatch.setattr(side_module, "LARGEST_CSV", 100)
    with pytest.raises(UserError, match="larger than any"):
        read_side(path)
