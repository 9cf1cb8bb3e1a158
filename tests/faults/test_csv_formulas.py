"""No text of results.csv and of the per-sample scores is a formula to a spreadsheet, and each comes back as it was."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.cli import main as cli
from quantbench.console import FORMULA, guarded, unguarded
from quantbench.results import store
from quantbench.results.load_side import read_side
from quantbench.results.record import COLUMNS, Record
from quantbench.results.rows_csv import rows_from_csv
from tests.shared import ROW

FORMULAS = [
    *("=cmd|'/C calc'!A0", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", "-", "-1", "+1"),
    *("'=1", "''=1", "'", "'text", "text", "a=1", '["=1", "b"]', ' " =1', "a\r\nb,c;d"),
]
DESK = Path(__file__).parents[2] / "results" / "desk" / "results.csv"


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(alphabet="'=+-@\t\r\n 1a\"", max_size=8) | st.text())
def test_a_guarded_text_is_no_formula_and_comes_back(text):
    assert not guarded(text).startswith(FORMULA) and unguarded(guarded(text)) == text
    assert text.startswith(("'", *FORMULA)) or (guarded(text) == text and unguarded(text) == text)


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_row_comes_back(tmp_path, text):
    row = replace(ROW, model=text, suite=text, skip_layers=text, error=text, status="failed", device=text)
    store.write_record(tmp_path, Record(row))
    store.derive_csv(tmp_path)
    names, *lines = cells(tmp_path / "results.csv")
    for name, value in zip(names, lines[0], strict=True):
        assert not value.startswith(FORMULA) or "change" in name, (name, value)
    assert rows_from_csv(tmp_path / "results.csv") == [row]
    assert float(lines[0][COLUMNS.index("change")]) == ROW.change


@pytest.mark.parametrize("text", FORMULAS)
def test_samples_come_back(tmp_path, text):
    frame = pd.DataFrame(
        {
            "sample": ["a", text],
            "target": [text, "b"],
            "fp32": [-1.5, 100.0],
            "quantized": [100, -0.0],
            "fp32_prediction": [text, "b"],
            "quantized_prediction": ["b", text],
        }
    )
    store.write_record(tmp_path, Record(ROW, {}, frame))
    for line in cells(store.samples_path(tmp_path, ROW.cell))[1:]:
        assert not any(value.startswith(FORMULA) for place, value in enumerate(line) if place not in (2, 3)), line
        assert len(line) == 6
    found = read_side(tmp_path).samples(ROW.cell)
    assert found is not None and sorted(found.index) == sorted(["a", text])
    assert found.loc["a", "target"] == text and found.loc[text, "target"] == "b"
    assert found.loc["a", "fp32"] == -1.5 and found["quantized"].dtype.kind in "if"
    assert found.loc["a", "fp32_prediction"] == text and found.loc[text, "quantized_prediction"] == text


def test_samples_without_the_guard_are_the_same_outputs(tmp_path, capsys):
    """A baseline that an earlier version wrote."""
    frame = pd.DataFrame(
        {"sample": ["-a", "=b"], "target": ["-1", "=x"], "fp32": [100.0, 0.0], "quantized": [100.0, 0.0]}
    )
    row = replace(ROW, samples=2, fp32=50.0, quantized=50.0, change=0.0, change_low=0.0, change_high=0.0)
    for name in ("old", "new"):
        store.write_record(tmp_path / name, Record(row, {}, frame))
    frame.to_csv(store.samples_path(tmp_path / "old", row.cell), index=False)
    record = store.record_path(tmp_path / "old", row.cell)
    known = {key: value for key, value in json.loads(record.read_text()).items() if key in ("schema", "row")}
    record.write_text(json.dumps(known))  # without checksums
    new = store.samples_path(tmp_path / "new", row.cell).read_text()
    assert "'-a,'-1" in new and store.samples_path(tmp_path / "old", row.cell).read_text() != new
    assert cli.main(["check", str(tmp_path / "new"), "--baseline", str(tmp_path / "old")]) == 0
    assert "same outputs" in capsys.readouterr().out


def test_the_committed_rows_are_written_as_they_are(tmp_path, capsys):
    rows = rows_from_csv(DESK)
    for row in rows:
        store.write_record(tmp_path, Record(row))
    store.derive_csv(tmp_path)
    assert sorted(rows_from_csv(tmp_path / "results.csv"), key=str) == sorted(rows, key=str)
    verdicts = []
    for new in (DESK, tmp_path / "results.csv"):
        cli.main(["check", str(new), "--baseline", str(DESK)])
        verdicts.append(sorted(capsys.readouterr().out.splitlines()))
    assert verdicts[0] == verdicts[1] and sum("same outputs" in line for line in verdicts[0]) > 80
