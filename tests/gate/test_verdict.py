from dataclasses import replace

import pytest

from quantbench.errors import UserError
from quantbench.gate.drop import Evidence, by_intervals
from quantbench.gate.effect import Answers, Mean
from quantbench.gate.pairs import Alone, Pair
from quantbench.gate.verdict import Amount, Outcome, Report, amount, judge
from tests.gate.gate_rows import RULES, answers, found, measured
from tests.shared import ROW

HELD, DROPPED, UNDECIDED = Outcome.HELD, Outcome.DROPPED, Outcome.UNDECIDED
# 0.93 points are allowed: 1 % of an fp32 of 93.
KEPT, LOST, UNSURE = found(Mean(0.1, 0.2)), found(Mean(3.0, 0.5)), found(Mean(1.5, 0.5))


def outcomes(*rows, rules=RULES):
    return [row.outcome for row in judge(rows, rules)]


@pytest.mark.parametrize(
    ("drop", "error", "outcome"),
    [
        (0.0, 0.56, HELD),  # at most 0.92
        (0.0, 0.57, UNDECIDED),  # at most 0.94
        (0.5, 0.2, HELD),
        (0.5, 0.3, UNDECIDED),
        (1.5, 0.4, UNDECIDED),  # at least 0.84, so it dropped, but perhaps by what is allowed
        (1.5, 0.34, DROPPED),  # at least 0.94
        (-3.0, 0.2, HELD),
    ],
)
def test_the_three_outcomes(drop, error, outcome):
    assert outcomes(found(Mean(drop, error))) == [outcome]


def test_what_is_allowed_and_how_sure():
    points = replace(RULES, max_drop=Amount(3.0, relative=False))
    assert outcomes(LOST) == [DROPPED]
    assert outcomes(LOST, rules=points) == [UNDECIDED]
    (row,) = judge([KEPT], points)
    assert (row.tolerance, row.outcome) == (3.0, HELD)
    assert outcomes(found(Mean(0.0, 0.5)), rules=replace(RULES, confidence=0.99)) == [UNDECIDED]


def test_the_same_outputs_are_held_whatever_the_sample():
    pair = Pair(ROW, ROW)
    certain = (pair, Evidence(Answers(0, 0, 20), "same outputs"))
    (row,) = judge([certain], replace(RULES, max_drop=Amount(0, relative=False)))
    assert (row.outcome, row.drop, row.low, row.high) == (HELD, 0.0, 0.0, 0.0)
    assert outcomes((pair, Evidence(Answers(0, 0, 20), "samples"))) == [UNDECIDED]


def test_many_rows_need_more_evidence_each_by_holms_method():
    barely = found(Mean(1.75, 0.48))  # p = 0.044
    assert outcomes(barely) == [DROPPED]
    assert outcomes(barely, *[KEPT] * 9) == [UNDECIDED] + [HELD] * 9
    assert outcomes(LOST, barely) == [DROPPED, DROPPED]  # once the first is rejected, one is left
    certain = (Pair(ROW, ROW), Evidence(Answers(0, 0, 20), "same outputs"))
    assert outcomes(barely, *[certain] * 9)[0] == DROPPED  # what is certain is no test


def test_more_rows_see_only_larger_drops():
    (alone,), many = judge([KEPT], RULES), judge([KEPT] * 10, RULES)
    assert alone.detectable == pytest.approx(0.93 + 0.2 * (1.6449 + 0.8416), abs=1e-3)
    assert many[0].detectable == pytest.approx(0.93 + 0.2 * (2.5758 + 0.8416), abs=1e-3)


def test_fp32_that_moved_is_said_and_is_no_drop():
    pair, item = found(Mean(0.0, 0.2), fp32=92.7)
    (row,) = judge([(pair, item)], RULES)
    assert row.fp32_moved and row.outcome is HELD and row.fp32_drift == pytest.approx(-0.3)
    report = Report(RULES, (row,), (), ())
    assert (report.exit_code, replace(report, rules=replace(RULES, fp32_fails=True)).exit_code) == (0, 1)
    (still,) = judge([found(Mean(0.0, 0.2), fp32=92.8)], RULES)
    assert not still.fp32_moved


def report(*rows, missing=(), **rules):
    return Report(replace(RULES, **rules), tuple(judge(rows, RULES)), missing, ())


@pytest.mark.parametrize(
    ("rows", "missing", "rules", "code"),
    [
        ([KEPT], 0, {}, 0),
        ([KEPT, LOST, UNSURE], 1, {}, 1),
        ([KEPT, UNSURE], 1, {}, 2),
        ([KEPT, UNSURE], 0, {}, 3),
        ([KEPT, UNSURE], 0, {"undecided_passes": True}, 0),
        ([KEPT, UNSURE], 1, {"undecided_passes": True}, 2),
        ([KEPT, UNSURE], 1, {"missing_passes": True}, 3),
        ([], 1, {"missing_passes": True}, 2),
        ([], 0, {"undecided_passes": True}, 2),
        ([LOST], 0, {"undecided_passes": True, "missing_passes": True}, 1),
    ],
)
def test_exit_codes(rows, missing, rules, code):
    assert report(*rows, missing=(Alone(ROW, "gone"),) * missing, **rules).exit_code == code


def test_dropped_rows_come_first():
    assert outcomes(KEPT, UNSURE, LOST) == [DROPPED, UNDECIDED, HELD]


def test_twenty_photos_cannot_tell_by_their_intervals():
    old, new = measured(*answers(20, 2, 1)), measured(*answers(20, 2, 1), sqnr_db=31.0)
    pair = Pair(old, new)
    assert outcomes((pair, Evidence(by_intervals(pair), "intervals"))) == [UNDECIDED]


@pytest.mark.parametrize(("text", "points"), [("1%", 0.5), (" 1 % ", 0.5), ("0.5", 0.5), (".5", 0.5), ("0", 0.0)])
def test_amounts(text, points):
    assert amount(text, "--max-drop").points(50.0) == points


@pytest.mark.parametrize("text", ["", "-1", "1%%", "nan", "inf", "1e9", "one", "99999999"])
def test_what_is_no_amount(text):
    with pytest.raises(UserError, match="--max-drop="):
        amount(text, "--max-drop")
