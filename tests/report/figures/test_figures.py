from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantbench.quant.histogram import equal_bins
from quantbench.report.figures import figures
from quantbench.report.figures.figure import save
from quantbench.results.load import Results
from tests.report.figure_checks import boxes
from tests.report.table_rows import int8, results, row

PAPER = ["figure1_mapping", "figure4_fake_quantization", "figure7_gelu_swish"]
HISTOGRAM = equal_bins(np.array([100, 10, 1, 1]), 1.0, 0.0, 3.5)
TAIL = equal_bins(np.array([100_000, 0, 0, 1]), 1.0, 0.0, 3.5)


def names(found: Results) -> list[str]:
    return [figure.name for figure in figures(found)]


def test_without_measurements_there_are_the_papers_figures() -> None:
    assert names(results(int8(status="failed"))) == PAPER


def test_each_network_has_its_figures_in_the_order_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    made = results(int8(75.0, model="mine"), int8(75.0, model="other"), row(75.0, model="other"))
    kept = {"cell0": {"conv1.input": HISTOGRAM, "fc.input": TAIL}}
    monkeypatch.setattr(Results, "histograms", lambda _, cell: kept.get(cell, {}))
    made.details["cell1"]["site_sqnr_db"] = {"conv1.input": 30.0}
    found = figures(made)
    assert [figure.name for figure in found] == [
        "figure1_mapping",
        "figure2_mine",
        "figure4_fake_quantization",
        "figure7_gelu_swish",
        "accuracy_by_calibration",
        "accuracy_by_percentile",
        "sqnr_other",
    ]
    assert "fc.input" in found[1].caption  # the site that reaches farther beyond its 99.99 % range


def test_the_histograms_of_table_5_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = results(int8(75.0, model="mine", fold_bn=True), int8(75.0, model="mine", seed=1))
    asked: list[str] = []
    monkeypatch.setattr(Results, "histograms", lambda _, cell: asked.append(cell) or {"a.input": HISTOGRAM})
    assert "figure2_mine" in names(made)
    assert asked == ["cell1"]
    made = results(int8(75.0, model="mine", fold_bn=True), row(75.0, model="mine"))
    asked.clear()
    assert "figure2_mine" in names(made)
    assert asked == ["cell0"]


@pytest.mark.slow
def test_all_can_be_saved_and_are_the_same_when_drawn_again(tmp_path: Path) -> None:
    made = results(int8(75.0), int8(60.0, "entropy"))
    made.details["cell0"]["site_sqnr_db"] = {"conv1.input": 30.0, "conv1.weight": 40.0}
    for folder in ("one", "two"):
        for figure in figures(made):
            save(figure, tmp_path / folder)
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(written) == 2 * 6
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_names_are_shown_as_they_are_and_never_read_as_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    made = results(int8(75.0, model="a$\\broken{$"))
    monkeypatch.setattr(Results, "histograms", lambda *_: {"b$^^$.input": HISTOGRAM})
    made.details["cell0"]["site_sqnr_db"] = {"b$^^$.input": 30.0}
    *_, accuracy, percentile, sqnr = found = figures(made)
    assert "|x| at b$^^$.input" in {text for text, _ in boxes(found[1].drawing)}
    for figure in (accuracy, percentile):
        assert "a$\\broken{$" in {text for text, _ in boxes(figure.drawing)}
    assert "b$^^$" in {text for text, _ in boxes(sqnr.drawing)}
