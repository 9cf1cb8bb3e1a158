import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from quantbench.errors import UserError
from quantbench.quant.histogram import equal_bins
from quantbench.results import store
from quantbench.results.record import COLUMNS, SCHEMA, Record, Row

ROW = Row(cell="abc", suite="desk", model="m", task="t", fp32=90.0, quantized=89.5, change=-0.5, started="2026-01-01")
SAMPLES = pd.DataFrame({"sample": ["a", "b"], "fp32": [100.0, 0.0], "quantized": [100.0, 0.0]})


def test_a_record_comes_back_as_it_was_written(tmp_path):
    store.write_record(tmp_path, Record(ROW, {"calibration_ids": ["x"]}, SAMPLES))
    assert store.read_row(tmp_path, "abc") == ROW
    assert json.loads(store.record_path(tmp_path, "abc").read_text())["calibration_ids"] == ["x"]
    pd.testing.assert_frame_equal(pd.read_csv(store.samples_path(tmp_path, "abc")), SAMPLES)
    assert store.read_row(tmp_path, "other") is None


def test_csv_has_every_column_in_order_and_one_line_a_record(tmp_path):
    later = replace(ROW, cell="def", started="2026-01-02", status="failed", error='no, "way"')
    for row in (later, ROW):
        store.write_record(tmp_path, Record(row))
    rows, problems = store.derive_csv(tmp_path)
    assert [row.cell for row in rows] == ["abc", "def"]
    table = pd.read_csv(tmp_path / "results.csv")
    assert tuple(table.columns) == COLUMNS
    assert list(table.cell) == ["abc", "def"]
    assert table.error[1] == 'no, "way"'
    assert problems == []


def test_a_damaged_record_is_measured_again(tmp_path):
    store.write_record(tmp_path, Record(ROW))
    path = store.record_path(tmp_path, "abc")
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match=r"abc\.json: not a readable record .*; delete it and run the cell again"):
        store.read_row(tmp_path, "abc")


def test_a_record_with_the_samples_of_another_run_or_none_is_measured_again(tmp_path):
    """As `force` leaves it that was killed between the two."""
    for name, rate in (("old", 0.0), ("new", 100.0)):
        store.write_record(tmp_path / name, Record(ROW, {}, SAMPLES.assign(quantized=[rate, 0.0])))
    assert store.read_row(tmp_path / "old", "abc") == ROW
    os.replace(store.samples_path(tmp_path / "new", "abc"), store.samples_path(tmp_path / "old", "abc"))
    for results in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(UserError, match="run the cell again"):
            store.read_row(results, "abc")


def test_a_record_of_another_version_is_left_out_aloud(tmp_path):
    (tmp_path / "cells").mkdir()
    store.record_path(tmp_path, "old").write_text(json.dumps({"schema": SCHEMA - 1, "row": asdict(ROW)}))
    rows, problems = store.read_rows(tmp_path)
    assert rows == [] and problems == [f"{tmp_path}/cells/old.json: a record of another version; it is left out"]
    assert store.read_row(tmp_path, "old") is None


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("list", "[]", ""),
        ("cut", '{"schema": 1, "row": {"cell"', "Expecting"),
        ("empty", "", "Expecting value"),
        ("bare", {}, "'row'"),
        ("half", {"row": {"cell": "half"}}, "missing"),
        ("text", {"row": {**asdict(ROW), "fp32": "much"}}, "fp32 is 'much'"),
        ("copy", {"row": asdict(ROW)}, "it is that of cell abc"),
    ],
)
def test_a_file_that_is_no_record_is_named_and_hides_no_other(tmp_path, name, content, problem):
    store.write_record(tmp_path, Record(ROW))
    text = content if isinstance(content, str) else json.dumps({"schema": SCHEMA, **content})
    store.record_path(tmp_path, name).write_text(text)
    (tmp_path / "cells" / "notes.txt").write_text("not ours")
    rows, (said,) = store.read_rows(tmp_path)
    assert rows == [ROW]
    assert f"{name}.json: not a readable record" in said and problem in said and "\n" not in said


def test_texts_come_back_from_a_csv_whatever_is_in_them(tmp_path):
    texts = ["=1+1", "-1", "a\r\nb,c;d", "\r", '"', "'"]
    samples = pd.DataFrame({"sample": texts, "fp32": range(len(texts))})
    store.write_record(tmp_path, Record(replace(ROW, error="\r\n=1"), {}, samples))
    found = pd.read_csv(store.samples_path(tmp_path, "abc"), converters={"sample": str})
    assert list(found["sample"]) == texts
    store.derive_csv(tmp_path)
    assert list(pd.read_csv(tmp_path / "results.csv").error) == ["\r\n=1"]


def test_histograms_are_kept_once_for_all_cells_that_name_them(tmp_path):
    seen = {
        "fc.input": equal_bins(np.array([3, 0, 1]), 0.5, -0.25, 1.25),
        "a.input": equal_bins(np.array([1, 0, 0]), 1.0, 0.0, 0.0),
    }
    for cell in ("abc", "def"):
        store.write_record(tmp_path, Record(replace(ROW, cell=cell), {"histograms": "h"}, None, seen))
    found = store.read_histograms(tmp_path, "h")
    assert list(found) == ["fc.input", "a.input"]
    assert found["fc.input"].counts.tolist() == [3, 0, 1]
    assert found["fc.input"].edges.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert (found["fc.input"].low, found["fc.input"].high) == (-0.25, 1.25)
    assert [path.name for path in (tmp_path / "histograms").iterdir()] == ["h.safetensors"]
    store.histograms_path(tmp_path, "h").write_bytes(b"broken")
    assert store.read_histograms(tmp_path, "h") == store.read_histograms(tmp_path, None) == {}


def test_records_and_histograms_are_read_without_torch(tmp_path):
    seen = {"fc.input": equal_bins(np.array([3, 0, 1]), 0.5, -0.25, 1.25)}
    store.write_record(tmp_path, Record(ROW, {"histograms": "h"}, None, seen))
    code = """
import sys
from pathlib import Path
from quantbench.results import store

((_, details),), _ = store.read_records(Path(sys.argv[1]))
assert store.read_histograms(Path(sys.argv[1]), details["histograms"])["fc.input"].total == 4
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_run_lists_its_cells_in_order(tmp_path):
    assert store.read_run(tmp_path, "r") == []
    for entry in ({"cell": "a"}, {"invalid": "bits"}):
        store.note_in_run(tmp_path, "r", entry)
    with (tmp_path / "runs" / "r.jsonl").open("a") as file:
        file.write('{"cell": "cut off by a full di')
    assert store.read_run(tmp_path, "r") == [{"cell": "a"}, {"invalid": "bits"}]


def test_a_results_folder_that_is_a_file_is_refused(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        store.check_writable(blocked)
