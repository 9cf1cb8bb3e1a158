import sys
from dataclasses import replace

import pytest

from tests.report.table_rows import int8, results, table, texts


def test_every_row_is_held_against_its_own_baseline():
    rows = [int8(76.0, fp32=76.16), int8(59.9, "entropy", fp32=60.0)]
    found = results(*rows)
    said = {line[2].text: line[-1].text for line in table(found, "differences").rows}
    assert said["max"] == "differs" or said["max"] == "agrees"
    assert said["entropy"].startswith("not compared: fp32 is 60.00, published 76.16")
    made = table(found, "table5")
    assert made.rows[0][2].flagged and any(note.startswith("‡ resnet50: fp32 is 60.00") for note in made.notes)


def test_differences_are_of_relative_changes():
    # Published: max 75.82 of 76.16 = -0.4464 %, entropy 76.05 = -0.1444 %.
    # Ours: 75.62 of 76.00 = -0.50 % +- 0.1316 %, 75.0 = -1.3158 %.
    made = table(results(int8(75.62), int8(75.0, "entropy")), "differences")
    assert texts(made) == [
        ["resnet50", "5", "max", "76.00", "76.16", "-0.50", "-0.45", "-0.05", "0.13", "recalled", "agrees"],
        ["resnet50", "5", "entropy", "76.00", "76.16", "-1.32", "-0.14", "-1.17", "0.13", "recalled", "differs"],
    ]
    assert made.notes[0].startswith("not run: table 3 per channel, per channel + BN folded, per tensor, ")
    assert "table 5 99.9, 99.99, 99.999, 99.9999 of resnet50" in made.notes[0]
    assert made.notes[1].startswith("Never evaluated: mobilenet_v1, mobilenet_v2, resnet152")


@pytest.mark.parametrize("over, verdict", [(-0.001, "agrees"), (0.001, "differs")])
def test_the_limit_of_agreement_is_the_half_width_and_the_rounding(over, verdict):
    # The relative half width is 0.1 / 76 = 0.13158 %, and 0.1 points are added.
    relative = 100 * (75.82 / 76.16 - 1) - (0.1 / 76 * 100 + 0.1 + over)
    made = table(results(int8(76 * (1 + relative / 100))), "differences")
    assert made.rows[0][-1].text == verdict


def test_differences_say_why_a_figure_is_not_compared():
    def verdict(model, **changes):
        return table(results(int8(50.0, model=model, **changes)), "differences").rows[0][-1].text

    assert verdict("resnet50", fp32=70.0).startswith("not compared: fp32 is 70.00, published 76.16")
    assert verdict("efficientnet_b0") == "not compared: torchvision's weights are not those of the paper (lukemelas)"


def test_a_doubtful_figure_is_not_compared(monkeypatch):
    from quantbench.report.published import published

    key = ("ResNet50 v1.5", "max")
    doubtful = {"5": {key: replace(published("5")[key], confidence="doubtful")}, "2": published("2")}
    monkeypatch.setattr(
        sys.modules["quantbench.report.tables.differences"], "published", lambda number: doubtful.get(number, {})
    )
    made = table(results(int8(75.82)), "differences")
    assert [line[-1].text for line in made.rows] == ["not compared: the published figure is doubtful"]


def test_only_the_papers_own_networks_are_compared():
    assert table(results(int8(75.0, model="resnet20_fashion"), int8(75.0, model="mine")), "differences") is None


def test_missing_figures_are_named_by_reason():
    rows = [int8(75.8), *(int8(model=model, status="unsupported") for model in ("gnmt", "jasper"))]
    notes = table(results(*rows), "differences").notes
    assert "unsupported: table 5 max of gnmt, jasper." in notes
