import subprocess
import sys

import pytest

from quantbench.tasks.metrics import METRICS
from quantbench.tasks.metrics.direction import HIGHER, LOWER, lower_is_better, plain


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_known_by_its_name_and_explained(name):
    assert METRICS[name].name == name and METRICS[name].kind and METRICS[name].meaning


def test_only_shares_of_right_answers_are_binomial():
    assert [name for name, metric in METRICS.items() if metric.share] == ["top1", "exact_match"]


def test_the_list_imports_no_torch():
    code = "import sys, quantbench.tasks.metrics; assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("names", "lower"),
    [
        (
            ["top1", "Top-1", "top5", "accuracy", "f1", "mAP", "mIoU", "BLEU", "exact_match", "ROC AUC"],
            False,
        ),
        (["wer", "WER", "CER", "ppl", "perplexity", "eval_loss", "loss", "mae", "RMSE", "word error rate"], True),
        (["badness", "100 - WER", "1-wer", "accuracy loss", "", "no_error"], None),
        (list(METRICS), False),
    ],
)
def test_which_way_a_metric_is_better(names, lower):
    assert {name: lower_is_better(name) for name in names} == dict.fromkeys(names, lower)


def test_what_somebody_says_of_a_metric_goes_first_and_no_name_is_both():
    assert lower_is_better("mine", lower=["Mine"]) is True and lower_is_better("wer", higher=["WER"]) is False
    assert not LOWER & HIGHER and all(plain(name) == name for name in LOWER | HIGHER)
