import pytest

from quantbench.report.metrics import explained, is_same, is_share, kind
from quantbench.tasks.lee_news import PEARSON, SPEARMAN
from quantbench.tasks.metrics.classification import ACCURACY
from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY
from quantbench.tasks.squad import EXACT_MATCH, F1

TASK_METRICS = (ACCURACY, F1, EXACT_MATCH, PEARSON, SPEARMAN, WORD_ACCURACY, LETTER_ACCURACY)


@pytest.mark.parametrize(
    "ours, published, same",
    [
        ("top1", "Top1", True),
        ("f1", "F1", True),
        ("exact_match", "Exact match", True),
        ("wacc", "WAcc (=100-WER; WER 3.91)", True),
        ("cacc", "WAcc (=100-WER; WER 3.91)", False),
        ("pearson", "F1", False),
        (None, "Top1", False),
    ],
)
def test_the_papers_way_to_write_a_metric(ours, published, same):
    assert is_same(ours, published) is same


@pytest.mark.parametrize("metric", TASK_METRICS, ids=lambda metric: metric.name)
def test_every_metric_of_a_task_is_known(metric):
    assert kind(metric.name) and explained([metric.name])


def test_each_metric_is_explained_once():
    assert explained(["pearson", "pearson", None]) == "pearson is 100 times the correlation with people's judgement. "
    assert explained(["mine", None]) == ""


def test_only_shares_of_right_answers_are_binomial():
    assert [name for name in ("top1", "f1", "exact_match", "pearson", "mine", None) if is_share(name)] == [
        "top1",
        "exact_match",
    ]
    assert (kind("f1"), kind("mine"), kind(None)) == ("question answering", "", "")
