import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.results.stats import bootstrap, detectable_by_interval, paired_change, widened
from quantbench.run.inputs import Inputs
from quantbench.run.scores import scores
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.metrics.correlation import PEARSON, SPEARMAN, pearson
from quantbench.tasks.metrics.metric import Metric
from quantbench.tasks.metrics.question_answering import EXACT_MATCH, F1
from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY
from quantbench.tasks.sampling import reading
from quantbench.tasks.synthetic import largest_output
from quantbench.tasks.task import Sample, Task
from tests.shared import compare


def inputs(targets, owned=None, decode=None):
    """Samples with these targets; `owned` says which items belong to each, else there is one."""
    owned = owned or [[i] for i in range(len(targets))]
    pad = None if decode is None else (0.0,)
    network = Network("any", torch.nn.Identity(), None, (torch.zeros(1, 1),), "random:0", "none", pad, decode)
    found = Inputs(network, [Sample(f"s{i}", reading(i), target) for i, target in enumerate(targets)])
    found.__dict__["_prepared"] = ([], owned)
    return found


def task(*metrics, predict=predicted_class):
    return Task("any", metrics, [], [], predict)


def test_logits_by_hand():
    fp32 = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    quantized = torch.tensor([[3.0, 2.0], [1.0, 0.0], [0.0, 1.0]])
    samples = compare(task(ACCURACY), inputs([1, 0, None]), fp32, quantized)
    assert list(samples.columns) == [
        *("sample", "target", "fp32", "quantized", "fp32_prediction", "quantized_prediction", "signal", "noise"),
    ]
    assert samples["sample"].tolist() == ["s0", "s1", "s2"]
    assert samples.target.tolist() == [1, 0, pd.NA] and samples.target.dtype == "Int64"
    assert samples.fp32.tolist()[:2] == [100, 100] and samples.quantized.tolist()[:2] == [0, 100]
    assert np.isnan(samples.fp32[2]) and np.isnan(samples.quantized[2])
    assert (samples.fp32_prediction.tolist(), samples.quantized_prediction.tolist()) == ([1, 0, 1], [0, 0, 1])
    assert (samples.signal.tolist(), samples.noise.tolist()) == ([25, 1, 4], [4, 0, 1])
    found = scores(samples, task(ACCURACY))
    assert (found["metric"], found["samples"], found["fp32"], found["quantized"]) == ("top1", 2, 100, 50)
    assert (found["change"], found["relative_change"]) == (-50, -0.5)
    assert found["agreement"] == pytest.approx(200 / 3)  # of all three
    assert found["sqnr_db"] == pytest.approx(10 * np.log10(30 / 5))
    assert found["p_value"] == 1 and not any(name.startswith("secondary") for name in found)


def test_no_label_at_all_is_said():
    outputs = torch.eye(2)
    with pytest.raises(UserError, match="none of the evaluated samples has a label: raise limit"):
        scores(compare(task(ACCURACY), inputs([None, None]), outputs, outputs), task(ACCURACY))


def test_without_metrics_there_is_no_accuracy():
    fp32 = torch.tensor([[[0.0, 1.0], [2.0, 0.0]], [[0.0, 1.0], [2.0, 0.0]]])
    quantized = torch.tensor([[[0.0, 1.0], [1.5, 0.0]], [[0.0, 1.0], [0.5, 0.0]]])
    plain = task(predict=largest_output)
    samples = compare(plain, inputs([None, None]), fp32, quantized)
    assert list(samples.columns) == ["sample", "target", "fp32_prediction", "quantized_prediction", "signal", "noise"]
    assert samples.quantized_prediction.tolist() == [2, 1]
    found = scores(samples, plain)
    assert found == {"samples": 2, "agreement": 50, "sqnr_db": pytest.approx(10 * np.log10(10 / 2.5))}


def test_energies_of_several_items_are_summed():
    fp32, quantized = (
        torch.tensor([[1.0, 2.0], [3.0, 0.0], [4.0, 0.0]]),
        torch.tensor([[1.0, 1.0], [0.0, 0.0], [4.0, 2.0]]),
    )
    given = inputs([0.5, 0.25], owned=[[0, 1], [1, 2]], decode=lambda raw, outputs: float(outputs.sum()))
    samples = compare(task(PEARSON, predict=None), given, fp32, quantized)
    assert (samples.signal.tolist(), samples.noise.tolist()) == ([5 + 9, 9 + 16], [1 + 9, 9 + 4])
    # What a sample says is made of its own items.
    assert (samples.fp32_similarity.tolist(), samples.quantized_similarity.tolist()) == ([6, 7], [2, 6])


def test_two_metrics_of_texts_and_targets_that_are_lists():
    golds = [["a b"], ["c", "é d"], ["e"]]
    said = ["a b", "c", "e", "b", "x", "e"]
    fp32, quantized = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]])
    squad = task(F1, EXACT_MATCH, predict=list)
    samples = compare(squad, inputs(golds, decode=lambda raw, outputs: said[int(outputs[0, 0])]), fp32, quantized)
    assert [json.loads(target) for target in samples.target] == golds and "é" in samples.target[1]
    assert (samples.fp32_prediction.tolist(), samples.quantized_prediction.tolist()) == (said[:3], said[3:])
    # "a" is an article: of "a b" the word b is left.
    assert (samples.fp32.tolist(), samples.quantized.tolist()) == ([100, 100, 100], [100, 0, 100])
    assert samples.quantized_exact_match.tolist() == [100, 0, 100]
    found = scores(samples, squad)
    assert (found["metric"], found["fp32"], found["quantized"]) == ("f1", 100, pytest.approx(200 / 3))
    assert (found["secondary_metric"], found["secondary_fp32"]) == ("exact_match", 100)
    assert found["secondary_quantized"] == pytest.approx(200 / 3)
    assert found["agreement"] == pytest.approx(100 / 3)


def partly_right(before, after):
    """The lines of a task with F1 and exact match of these scores."""
    right = [(100.0 * (values == 100)) for values in (before, after)]
    return pd.DataFrame(
        {
            **{"fp32": before, "quantized": after, "fp32_exact_match": right[0], "quantized_exact_match": right[1]},
            **{"fp32_prediction": before, "quantized_prediction": after, "signal": 1.0, "noise": 0.1},
        }
    )


def test_each_metric_has_the_interval_of_its_kind():
    before, after = np.array([100.0, 80, 0, 100, 50]), np.array([80.0, 80, 0, 100, 100])
    found = scores(partly_right(before, after), task(F1, EXACT_MATCH))
    student = paired_change(before, after)
    assert (found["change"], found["change_low"], found["change_high"]) == (student.value, student.low, student.high)
    assert found["p_value"] is None  # F1 is more than right or wrong
    flips = paired_change(100.0 * (before == 100), 100.0 * (after == 100))
    assert (found["secondary_change"], found["secondary_change_low"], found["secondary_change_high"]) == (
        *(flips.value, flips.low, flips.high),
    )
    assert (found["secondary_fp32"], found["secondary_quantized"]) == (40, 40)


def test_a_single_sample_says_next_to_nothing():
    found = scores(partly_right(np.array([80.0]), np.array([50.0])), task(F1, EXACT_MATCH))
    assert (found["change"], found["change_low"], found["change_high"]) == (-30, -100, 100)


@pytest.mark.parametrize("samples", [20, 200])
def test_where_nothing_changed_no_metric_knows_more_than_exact_match(samples):
    """No answer of 20 changed: by Agresti and Min 1.96 / 22 either way, whatever the answers are judged by."""
    half = 100 * 1.959964 / (samples + 2)
    same = np.tile([100.0, 0.0, 50.0, 80.0], samples // 4)
    answers = scores(partly_right(same, same), task(F1, EXACT_MATCH))
    assert answers["secondary_change_high"] == pytest.approx(half, rel=1e-6)
    assert half <= answers["change_high"] < 1.1 * half and answers["change_low"] == -answers["change_high"]
    assert answers["detectable_drop"] > half
    for metrics in ((WORD_ACCURACY, LETTER_ACCURACY), (PEARSON, SPEARMAN)):
        values = np.arange(samples * 4.0).reshape(4, samples) % 7
        names = [f"{side}_{name}" for side in ("fp32", "quantized") for m in metrics for name in m.columns]
        columns = dict(zip(dict.fromkeys(names), itertools.cycle(values), strict=False))
        columns |= {f"quantized_{name}": columns[f"fp32_{name}"] for m in metrics for name in m.columns}
        found = scores(pd.DataFrame({**columns, "signal": 1.0, "noise": 0.0}), task(*metrics, predict=None))
        for kind in ("change", "secondary_change"):
            ends = found[f"{kind}_low"], found[kind], found[f"{kind}_high"]
            assert ends == pytest.approx((-half, 0, half), rel=1e-6)


def similarities(targets, fp32, quantized):
    given = inputs(targets, decode=lambda raw, outputs: float(outputs[0]))
    both = (torch.tensor(values, dtype=torch.float32)[:, None] for values in (fp32, quantized))
    return compare(task(PEARSON, SPEARMAN, predict=None), given, *both)


TARGETS, FP32, QUANTIZED = [0.0, 0.25, 0.5, 1.0], [0.0, 0.25, 0.5, 1.0], [0.0, 0.5, 0.25, 1.0]


def test_correlations_keep_what_they_need_of_each_sample():
    samples = similarities(TARGETS, FP32, QUANTIZED)
    assert [name for name in samples if name.startswith("fp32")] == ["fp32_similarity", "fp32_human", "fp32_prediction"]
    assert samples.quantized_similarity.tolist() == QUANTIZED and samples.quantized_human.tolist() == TARGETS
    found = scores(samples, task(PEARSON, SPEARMAN, predict=None))
    assert (found["metric"], found["secondary_metric"]) == ("pearson", "spearman")
    assert (found["fp32"], found["secondary_fp32"]) == (pytest.approx(100), pytest.approx(100))
    # Deviations from 7/16 in sixteenths: -7 -3 1 9, squares 140; with two exchanged 49 - 3 - 3 + 81.
    assert found["quantized"] == pytest.approx(100 * 124 / 140)
    assert found["secondary_quantized"] == pytest.approx(100 * (1 - 6 * 2 / 60))
    assert found["change"] == pytest.approx(-100 * 16 / 140)
    assert found["agreement"] is None and "p_value" not in found


def test_the_bootstrap_draws_pairs():
    samples = similarities(TARGETS, FP32, QUANTIZED)
    found = scores(samples, task(PEARSON, SPEARMAN, predict=None))
    before, after = (np.column_stack([values, TARGETS]) for values in (FP32, QUANTIZED))
    expected = bootstrap(lambda drawn: pearson(after[drawn]) - pearson(before[drawn]), 4)
    expected = widened(expected, 4, unchanged=2)
    assert (found["change_low"], found["change_high"]) == (expected.low, expected.high)
    assert found["detectable_drop"] == detectable_by_interval(expected)
    assert expected.low < expected.value < expected.high


def test_a_bootstrap_of_pairs_by_hand():
    # The metric is the sum of products. Both executions differ in sample 0 alone, by 3: drawn again, the change is 3
    # times the number of draws of sample 0, whatever the others hold. Drawing the sides apart would mix in their sizes.
    products = Metric("products", lambda *_: None, lambda parts: float(parts.prod(1).sum()), ("x", "y"))
    x, y = np.array([1.0, 50.0, -70.0, 90.0]), np.array([3.0, 10.0, 10.0, 10.0])
    lines = {"fp32_x": x, "fp32_y": y, "quantized_x": x + np.array([1, 0, 0, 0]), "quantized_y": y}
    found = scores(pd.DataFrame({**lines, "signal": 1.0, "noise": 1.0}), task(products, predict=None))
    assert (found["fp32"], found["quantized"], found["change"]) == (703, 706, 3)
    # Binomial(4, 1/4): P(0) = 0.32, P(at least 3) = 0.051, P(4) = 0.004: the interval is 0 to 3 draws.
    assert (found["change_low"], found["change_high"]) == (0, 9)


def test_equal_executions_cannot_tell_what_they_would_have_shown():
    samples = similarities(TARGETS, FP32, FP32)
    unknown = replace(PEARSON, percent=False)  # what a sample is worth
    found = scores(samples, task(unknown, predict=None))
    names = ("change", "change_low", "change_high", "detectable_drop")
    assert [found[name] for name in names] == [0, None, None, None]


def test_pairs_that_nobody_judged_are_left_out_of_a_correlation():
    samples = similarities([*TARGETS, None], [*FP32, 0.7], [*QUANTIZED, 0.9])
    found = scores(samples, task(PEARSON, SPEARMAN, predict=None))
    known = scores(similarities(TARGETS, FP32, QUANTIZED), task(PEARSON, SPEARMAN, predict=None))
    keys = [key for key in known if key != "sqnr_db"]
    assert {key: found[key] for key in keys} == {key: known[key] for key in keys}
    assert found["samples"] == 4


def test_constant_answers_correlate_with_nothing():
    found = scores(similarities(TARGETS, FP32, [0.1] * 4), task(PEARSON, SPEARMAN, predict=None))
    assert (found["quantized"], found["secondary_quantized"], found["change"]) == (0, 0, pytest.approx(-100))


def test_one_number_a_sample_may_come_as_a_tensor():
    plain = task(PEARSON, predict=None)
    outputs = torch.tensor([[0.5], [0.25], [1.0]])
    samples = compare(plain, inputs([1.0, 0.0, 0.5]), outputs, outputs)
    assert samples.fp32_prediction.tolist() == samples.fp32_similarity.tolist() == [0.5, 0.25, 1.0]
    with pytest.raises(UserError, match="one number a sample"):
        compare(plain, inputs([1.0, 0.0, 0.5]), torch.zeros(3, 2), torch.zeros(3, 2))
