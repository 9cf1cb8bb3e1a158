import errno
import json
import os
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from quantbench.errors import UserError
from quantbench.quant.histogram import Histogram
from quantbench.results import store
from quantbench.results.record import COLUMNS, Record, Row

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


def test_the_columns_that_users_rely_on():
    wanted = (
        "cell suite model task metric samples fp32 quantized change change_low change_high relative_change calib "
        "percentile weight_granularity weight_bits activation_bits mapping fold_bn method backend seed "
        "calibration_samples batch_size layers layers_quantized seconds_calibrate seconds_fp32 seconds_quantized "
        "peak_memory_mb device isa torch git started status error"
    )
    assert set(wanted.split()) <= set(COLUMNS)


def test_a_write_that_breaks_off_leaves_the_old_record_and_no_scrap(tmp_path, monkeypatch):
    store.write_record(tmp_path, Record(ROW))

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"abc\.json: cannot be written \(No space left on device\); free some space"):
        store.write_record(tmp_path, Record(replace(ROW, fp32=1.0)))
    assert store.read_row(tmp_path, "abc") == ROW
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["abc.json"]


def test_samples_are_there_before_the_record(tmp_path, monkeypatch):
    order = []
    replaced = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(b.name), replaced(a, b)))
    store.write_record(tmp_path, Record(ROW, {}, SAMPLES))
    assert order == ["abc.samples.csv", "abc.json"]


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: "", lambda text: "\x00" * 9])
def test_a_damaged_record_is_named_and_the_others_stay(tmp_path, damage):
    store.write_record(tmp_path, Record(ROW))
    store.write_record(tmp_path, Record(replace(ROW, cell="def")))
    path = store.record_path(tmp_path, "abc")
    path.write_text(damage(path.read_text()))
    rows, problems = store.read_rows(tmp_path)
    assert [row.cell for row in rows] == ["def"]
    assert len(problems) == 1 and "abc.json: not a readable record" in problems[0]
    with pytest.raises(UserError, match="delete it and run the cell again"):
        store.read_row(tmp_path, "abc")


def test_a_record_of_another_version_is_left_out_aloud(tmp_path):
    (tmp_path / "cells").mkdir()
    store.record_path(tmp_path, "old").write_text(json.dumps({"schema": 0, "row": asdict(ROW)}))
    rows, problems = store.read_rows(tmp_path)
    assert rows == [] and problems == [f"{tmp_path}/cells/old.json: a record of another version; it is left out"]
    assert store.read_row(tmp_path, "old") is None


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("list.json", "[]", "not a record of quantbench"),
        ("notes.txt", "hello", "not a file of quantbench"),
        ("cut.json", '{"schema": 1, "row": {"cell"', "not a readable record"),
        ("empty.json", "", "not a readable record"),
        ("bare.json", '{"schema": 1}', "not a complete record ('row')"),
        ("half.json", '{"schema": 1, "row": {"cell": "half"}}', "not a complete record"),
        ("text.json", json.dumps({"schema": 1, "row": {**asdict(ROW), "fp32": "much"}}), "fp32 is 'much'"),
        ("none.json", json.dumps({"schema": 1, "row": {**asdict(ROW), "model": None}}), "model is None"),
        ("copy.json", json.dumps({"schema": 1, "row": asdict(ROW)}), "the record of another cell, abc"),
    ],
)
def test_a_file_that_is_no_record_is_named_and_hides_no_other(tmp_path, name, content, problem):
    store.write_record(tmp_path, Record(ROW))
    (tmp_path / "cells" / name).write_text(content)
    rows, problems = store.read_rows(tmp_path)
    assert rows == [ROW]
    assert len(problems) == 1 and problem in problems[0] and name in problems[0] and "\n" not in problems[0]


def test_histograms_are_kept_once_for_all_cells_that_name_them(tmp_path):
    seen = {
        "fc.input": Histogram(np.array([3, 0, 1]), 0.5, -0.25, 1.25),
        "a.input": Histogram(np.array([1, 0, 0]), 1.0, 0.0, 0.0),
    }
    for cell in ("abc", "def"):
        store.write_record(tmp_path, Record(replace(ROW, cell=cell), {"histograms": "h"}, None, seen))
    found = store.read_histograms(tmp_path, "h")
    assert list(found) == ["fc.input", "a.input"]
    assert found["fc.input"].counts.tolist() == [3, 0, 1]
    assert (found["fc.input"].width, found["fc.input"].low, found["fc.input"].high) == (0.5, -0.25, 1.25)
    assert [path.name for path in (tmp_path / "histograms").iterdir()] == ["h.npz"]
    store.histograms_path(tmp_path, "h").write_bytes(b"PK broken")
    assert store.read_histograms(tmp_path, "h") == store.read_histograms(tmp_path, None) == {}


def test_a_run_lists_its_cells_in_order(tmp_path):
    assert store.read_run(tmp_path, "r") == []
    for entry in ({"cell": "a"}, {"invalid": "bits"}):
        store.note_in_run(tmp_path, "r", entry)
    assert store.read_run(tmp_path, "r") == [{"cell": "a"}, {"invalid": "bits"}]


def test_a_results_folder_that_is_a_file_is_refused(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        store.check_writable(blocked)
