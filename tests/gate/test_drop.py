import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, t

from quantbench.errors import UserError
from quantbench.gate.drop import by_corpus, by_intervals, by_scores, evidence
from quantbench.gate.effect import Answers, Mean
from quantbench.gate.pairs import Pair
from quantbench.gate.tango import tango_score
from quantbench.results.load import Results
from quantbench.results.store import SAMPLES, samples_path
from quantbench.tasks.metrics.correlation import pearson
from quantbench.tasks.metrics.transcription import accuracy
from tests.gate.gate_rows import answers, frame, measured
from tests.shared import ROW

CSV = Results(Path("results.csv"), [])


def test_answers():
    effect = Answers(12, 2, 1000)
    assert effect.drop == 1.0
    low, high = effect.bounds(0.95)
    assert tango_score(12, 2, 1000, low / 100) == pytest.approx(1.6449, abs=1e-4)
    assert tango_score(12, 2, 1000, high / 100) == pytest.approx(-1.6449, abs=1e-4)
    assert effect.p_above(0.5) == pytest.approx(norm.sf(tango_score(12, 2, 1000, 0.005)))
    assert effect.excludes(high + 1e-6, 0.95) and not effect.excludes(high - 1e-6, 0.95)


def test_the_drop_that_can_be_seen_is_seen_four_times_of_five():
    """Drawn from two Poisson distributions with the churn and the drop that the formula is given."""
    samples, churn_pairs, tolerance = 4000, 20, 1.0
    wanted = Answers(churn_pairs, churn_pairs, samples).detectable(tolerance, 0.95)
    generator = np.random.default_rng(0)
    lost = generator.poisson(churn_pairs + wanted / 100 * samples, 2000)
    won = generator.poisson(churn_pairs, 2000)
    seen = np.mean([Answers(a, b, samples).p_above(tolerance) <= 0.05 for a, b in zip(lost, won, strict=True)])
    assert seen == pytest.approx(0.8, abs=0.04)


def test_what_few_samples_see():
    assert Answers(0, 0, 20).detectable(0.9, 0.95) == pytest.approx(17.7, abs=0.1)
    assert math.isinf(Answers(0, 0, 2).detectable(1.0, 0.999))


def test_a_mean_by_students_distribution():
    effect = Mean(2.0, 0.5, 9)
    reach = 0.5 * t.ppf(0.95, 9)
    assert effect.bounds(0.95) == pytest.approx((2 - reach, 2 + reach))
    assert effect.p_above(1.0) == pytest.approx(t.sf(2.0, 9))
    assert effect.excludes(3.0, 0.95) and not effect.excludes(2.9, 0.95)
    assert effect.detectable(1.0, 0.95) == pytest.approx(1 + 0.5 * (t.ppf(0.95, 9) + t.ppf(0.8, 9)))


@pytest.mark.parametrize(("error", "p_value", "excluded"), [(0.0, 0.0, False), (math.inf, 1.0, False)])
def test_a_mean_without_an_error_and_one_that_nobody_knows(error, p_value, excluded):
    effect = Mean(2.0, error)
    assert effect.p_above(1.0) == p_value
    assert effect.excludes(1.0, 0.95) is excluded
    assert effect.excludes(3.0, 0.95) is (error == 0.0)


def folder(path: Path, cell: str, table) -> Results:
    """Results whose only cell has these scores."""
    content = table.to_csv(index=False).encode()
    (path / "cells").mkdir(parents=True, exist_ok=True)
    samples_path(path, cell).write_bytes(content)
    return Results(path, [], {cell: {SAMPLES: hashlib.sha256(content).hexdigest()}})


def test_right_and_wrong_answers_of_both_runs_are_counted():
    fp32, before = answers(100, 10, lost=3)
    now = before.copy()
    now[50:55] = 0.0  # five more are lost
    now[10] = 100.0  # one that the baseline lost is right
    effect = by_scores(fp32, before, fp32, now)
    assert (effect.lost, effect.won, effect.samples) == (5, 1, 100)


def test_fp32_that_moved_alike_is_no_drop():
    fp32, before = answers(100, 10, lost=3)
    other = fp32.copy()
    other[60:70] = 0.0
    effect = by_scores(fp32, before, other, np.where(other < fp32, 0.0, before))
    assert (effect.lost, effect.won) == (0, 0)


def test_a_sample_whose_change_turned_round_counts_with_its_square():
    """fp32 wrong and int8 right before, the reverse now: a difference of -2, the variance of four single ones."""
    fp32, new_fp32 = np.zeros(10), np.zeros(10)
    before, now = np.zeros(10), np.zeros(10)
    before[0] = new_fp32[0] = 100.0
    effect = by_scores(fp32, before, new_fp32, now)
    assert (effect.lost, effect.won) == (3, 1)
    assert effect.drop == 20.0


def test_other_scores_by_student_with_one_sample_more_that_changed():
    generator = np.random.default_rng(0)
    fp32, before, now = generator.uniform(20, 80, (3, 50))
    effect = by_scores(fp32, before, fp32, now)
    change = (now - before) / 100
    variance = ((change**2).sum() + 1 - change.sum() ** 2 / 50) / 49
    assert (effect.drop, effect.error, effect.degrees) == pytest.approx(
        (100 * -change.mean(), 100 * math.sqrt(variance / 50), 49)
    )
    assert by_scores(fp32, before, fp32, before).error == pytest.approx(100 * math.sqrt(1 / 49 / 50))


def test_scores_without_limits_that_did_not_change_say_nothing():
    fp32 = np.array([0.0, 250.0, 30.0])
    assert math.isinf(by_scores(fp32, fp32, fp32, fp32).error)
    assert math.isinf(by_scores(np.array([50.0]), np.array([50.0]), np.array([50.0]), np.array([40.0])).error)


def test_a_metric_of_the_corpus_is_drawn_again():
    generator = np.random.default_rng(1)
    human = generator.random(200)
    fp32, before, now = (np.column_stack([human + generator.normal(0, s, 200), human]) for s in (0.1, 0.12, 0.5))
    effect = by_corpus(pearson, fp32, before, fp32, now)
    assert effect.drop == pytest.approx(pearson(before) - pearson(now))
    keep = [np.arange(200) != left_out for left_out in range(200)]
    without = np.array([pearson(before[rest]) - pearson(now[rest]) for rest in keep])
    jackknife = math.sqrt(199 / 200 * ((without - without.mean()) ** 2).sum())
    assert effect.error == pytest.approx(jackknife, rel=0.1)


def test_a_metric_of_the_corpus_that_did_not_change_is_no_certainty():
    parts = np.array([[1.0, 5.0]] * 20)
    assert by_corpus(accuracy, parts, parts, parts, parts) == Mean(0.0, 5.0)  # one utterance of 20


def test_words_are_counted_over_all_utterances(tmp_path):
    """Of ten utterances of two words each, and one of 20 words, in which one more is wrong now."""
    table = frame(np.zeros(11), np.zeros(11)).drop(columns=["fp32", "quantized"])
    words = [2.0] * 10 + [20.0]
    for execution, wrong in (("fp32", 0.0), ("quantized", 1.0)):
        table = table.assign(**{f"{execution}_errors": wrong, f"{execution}_words": words})
    now = table.assign(quantized_errors=[1.0] * 10 + [2.0], noise=2.0)
    old = replace(ROW, metric="wacc", fp32=100.0, quantized=72.5, p_value=None)
    a, b = folder(tmp_path / "a", old.cell, table), folder(tmp_path / "b", "bbbbbbbbbbbb", now)
    item = evidence(Pair(old, replace(old, cell="bbbbbbbbbbbb", quantized=70.0)), a, b)
    assert item.source == "samples" and item.effect.drop == pytest.approx(100 / 40)


def test_intervals_tell_how_many_answers_changed():
    old, new = measured(*answers(2000, 140, 9, 7)), measured(*answers(2000, 140, 20, 5))
    effect = by_intervals(Pair(old, new))
    assert (effect.lost, effect.won, effect.samples) == pytest.approx((20 + 7, 5 + 9, 2000))


def test_intervals_see_at_least_as_many_changed_answers_as_the_samples():
    """Two runs that err on the same samples: by intervals, all that each lost or won has changed."""
    fp32, before = answers(2000, 140, 9, 7)
    _, now = answers(2000, 140, 12, 7)
    by_both, by_rows = (
        by_scores(fp32, before, fp32, now),
        by_intervals(Pair(measured(fp32, before), measured(fp32, now))),
    )
    assert (by_both.lost, by_both.won) == (3, 0)
    assert by_rows.drop == pytest.approx(by_both.drop)
    assert by_rows.bounds(0.95)[1] > by_both.bounds(0.95)[1]


def test_more_answers_than_there_are_cannot_change():
    effect = by_intervals(Pair(measured(*answers(100, 50, 40, 30)), measured(*answers(100, 50, 45, 30))))
    assert effect.drop == pytest.approx(5.0) and effect.lost + effect.won <= 100


def test_other_intervals_are_added_in_quadrature():
    old = replace(ROW, change_low=-1.0, change_high=1.0, p_value=None, quantized=93.0)
    new = replace(old, change_low=-3.0, change_high=0.0, quantized=91.5)
    effect = by_intervals(Pair(old, new))
    assert effect.drop == 1.5
    assert effect.error == pytest.approx(math.hypot(2.0, 3.0) / (2 * 1.959964), rel=1e-6)


@pytest.mark.parametrize("missing", [{"change_low": None}, {"change_low": 0.0, "change_high": 0.0}])
def test_a_row_without_an_interval_has_no_known_error(missing):
    assert math.isinf(by_intervals(Pair(ROW, replace(ROW, **missing))).error)


def test_the_same_figures_to_the_last_digit_are_the_same_outputs():
    row = measured(*answers(20, 2))
    again = replace(row, cell="bbbbbbbbbbbb", seconds=9.0, torch="3.0")
    assert evidence(Pair(row, again), CSV, CSV).is_certain
    rounded = replace(again, sqnr_db=30.000000000000004)
    assert evidence(Pair(row, rounded), CSV, CSV).source == "intervals"
    nothing = replace(row, sqnr_db=None)
    assert evidence(Pair(nothing, replace(nothing, seconds=9.0)), CSV, CSV).source == "intervals"
    digest = replace(nothing, outputs_sha256="a")
    assert evidence(Pair(digest, replace(digest, seconds=9.0)), CSV, CSV).is_certain
    for other in ({"outputs_sha256": "b"}, {"outputs_sha256": "b", "sqnr_db": 30.0}, {"fp32": 1.0}):
        base = replace(digest, sqnr_db=other.get("sqnr_db"))
        assert evidence(Pair(base, replace(base, seconds=9.0, **other)), CSV, CSV).source == "intervals"


def test_a_row_is_itself_in_one_file_and_in_a_copy_that_has_its_time(tmp_path):
    row = replace(measured(*answers(20, 2)), sqnr_db=None)
    untimed = replace(row, started=None)
    other = Results(Path("other.csv"), [])
    assert evidence(Pair(row, row), CSV, other).is_certain and evidence(Pair(untimed, untimed), CSV, CSV).is_certain
    assert evidence(Pair(untimed, untimed), CSV, other).source == "intervals"


@pytest.mark.parametrize("right_or_wrong", [True, False])
def test_what_is_better_when_lower_drops_when_it_rises(tmp_path, right_or_wrong):
    """The same answers as error rates: every number but that of the scores themselves is the same."""
    fp32, before = answers(400, 40, lost=6, won=2)
    _, now = answers(400, 40, lost=30, won=2)
    if not right_or_wrong:
        fp32, before, now = 0.9 * fp32 + 1, 0.9 * before + 1, 0.9 * now + 1
    p_value = 0.5 if right_or_wrong else None
    for samples in (True, False):
        effects = []
        for lower, sides in ((False, (fp32, before, now)), (True, (100 - fp32, 100 - before, 100 - now))):
            top, old, new = sides
            rows = [measured(top, x, cell=c, p_value=p_value) for x, c in ((old, "a"), (new, "b"))]
            names = [f"{lower}{samples}{side}" for side in "ab"]
            folders = [
                folder(tmp_path / n, r.cell, frame(top, x)) for n, r, x in zip(names, rows, (old, new), strict=True)
            ]
            if not samples:
                folders = [CSV, CSV]
            effects.append(evidence(Pair(*rows), *folders, lower_is_better=lower).effect)
        assert effects[0].drop == pytest.approx(effects[1].drop) and effects[0].drop > 5
        assert effects[0].bounds(0.95) == pytest.approx(effects[1].bounds(0.95))
        assert effects[0].p_above(1.0) == pytest.approx(effects[1].p_above(1.0)) and effects[0].p_above(1.0) < 0.05


def test_samples_are_paired_by_their_ids(tmp_path):
    fp32, before = answers(100, 10, lost=3)
    _, now = answers(100, 10, lost=5)
    old, new = measured(fp32, before), measured(fp32, now, cell="bbbbbbbbbbbb")
    a = folder(tmp_path / "a", old.cell, frame(fp32, before))
    b = folder(tmp_path / "b", new.cell, frame(fp32, now, noise=2.0).iloc[::-1])
    item = evidence(Pair(old, new), a, b)
    assert (item.source, item.effect) == ("samples", Answers(2, 0, 100))
    same = folder(tmp_path / "c", new.cell, frame(fp32, before).iloc[::-1])
    assert evidence(Pair(old, new), a, same).source == "same outputs"
    noisier = folder(tmp_path / "d", new.cell, frame(fp32, before, noise=2.0))
    assert evidence(Pair(old, new), a, noisier).source == "samples"


def test_other_samples_are_compared_by_intervals_and_that_is_said(tmp_path):
    fp32, before = answers(100, 10, lost=3)
    old, new = measured(fp32, before), measured(fp32, before, cell="bbbbbbbbbbbb")
    a = folder(tmp_path / "a", old.cell, frame(fp32, before))
    other = frame(fp32, before).assign(sample=[f"x{place}" for place in range(100)])
    item = evidence(Pair(old, new), a, folder(tmp_path / "b", new.cell, other))
    assert (item.source, item.note) == ("intervals", "the two runs have other samples")
    relabelled = folder(tmp_path / "c", new.cell, frame(fp32, before).assign(target=2))
    assert evidence(Pair(old, new), a, relabelled).source == "intervals"


def test_the_second_metric_has_columns_of_its_own(tmp_path):
    fp32, before = answers(10, 1)
    _, now = answers(10, 1, lost=4)
    table = frame(fp32, fp32).assign(fp32_exact_match=fp32, quantized_exact_match=before)
    worse = table.assign(quantized_exact_match=now)
    old, new = measured(fp32, before, metric="exact_match"), measured(fp32, now, cell="b", metric="exact_match")
    a, b = folder(tmp_path / "a", old.cell, table), folder(tmp_path / "b", new.cell, worse)
    assert evidence(Pair(old, new), a, b).effect == Answers(4, 0, 10)


@pytest.mark.parametrize(
    ("column", "said"), [("quantized", "no scores of top1"), ("noise", None), ("sample", "not a table")]
)
def test_a_damaged_file_of_samples_is_one_line(tmp_path, column, said):
    fp32, before = answers(10, 1)
    old, new = measured(fp32, before), measured(fp32, before, cell="bbbbbbbbbbbb")
    a = folder(tmp_path / "a", old.cell, frame(fp32, before))
    b = folder(tmp_path / "b", new.cell, frame(fp32, before, noise=2.0).drop(columns=column))
    if said is None:
        assert evidence(Pair(old, new), a, b).source == "samples"
        return
    with pytest.raises(UserError, match=said):
        evidence(Pair(old, new), a, b)


@pytest.mark.parametrize("score", ["x", "inf", ""])
def test_a_score_that_is_no_number_is_one_line(tmp_path, score):
    fp32, before = answers(10, 1)
    old, new = measured(fp32, before), measured(fp32, before, cell="bbbbbbbbbbbb")
    a = folder(tmp_path / "a", old.cell, frame(fp32, before))
    spoilt = frame(fp32, before).astype({"quantized": object})
    spoilt.loc[3, "quantized"] = score
    with pytest.raises(UserError, match="run the cell again"):
        evidence(Pair(old, new), a, folder(tmp_path / "b", new.cell, spoilt))
