from dataclasses import replace

import pytest

from quantbench.report import baseline
from quantbench.report.baseline import check_baseline
from quantbench.report.published import published
from tests.report.table_rows import row

TORCHVISION = {"config": {"model": {"weights": "IMAGENET1K_V1"}}}


@pytest.mark.parametrize("fp32, verdict", [(76.16, "ok"), (76.36, "ok"), (75.96, "ok"), (76.37, "off"), (75.9, "off")])
def test_fp32_is_held_against_the_published_one(fp32, verdict):
    # ResNet50 v1.5: published 76.16, tolerance 0.2.
    assert check_baseline(row(76.0, fp32=fp32), TORCHVISION).verdict == verdict


def test_the_sentence_says_by_how_much():
    sentence = check_baseline(row(76.0, fp32=75.5), TORCHVISION).sentence
    assert sentence == "fp32 is 75.50, published 76.16 (-0.66, tolerance 0.2)"


@pytest.mark.parametrize(
    "changes, details, said",
    [
        ({"samples": 500}, TORCHVISION, "500 of 50,000 samples"),
        ({"samples": None}, TORCHVISION, "0 of 50,000 samples"),
        ({}, {"config": {"model": {"weights": "random"}}}, "its weights are random; the paper's are IMAGENET1K_V1"),
        ({}, {}, "its weights are not recorded; the paper's are IMAGENET1K_V1"),
        ({}, {"config": ["no mapping"]}, "its weights are not recorded; the paper's are IMAGENET1K_V1"),
        ({"model": "efficientnet_b0"}, TORCHVISION, "torchvision's weights are not those of the paper (lukemelas)"),
        ({"metric": "top5"}, TORCHVISION, "its metric is top5; the paper's is Top1"),
        (
            {"model": "bert_large", "metric": "f1", "samples": 10_570},
            {"config": {"model": {"weights": "hub"}}},
            "the hub's weights (whole-word masking) are not those of the paper (DeepLearningExamples)",
        ),
        ({"model": "minilm_trec"}, TORCHVISION, "not the paper's BERT Large: a BERT of 6 layers, classes of questions"),
        ({"model": "resnet20_fashion"}, TORCHVISION, "not the paper's ResNet50 v1.5: residual blocks"),
        ({"model": "mine"}, TORCHVISION, "the paper has no such network"),
        ({"status": "failed"}, TORCHVISION, "fp32 was not measured"),
    ],
)
def test_what_cannot_be_checked_is_said(changes, details, said):
    # 50 is far from every published value: a check would say off.
    found = check_baseline(row(50.0, **{"fp32": 50.0, **changes}), details)
    assert (found.verdict, found.sentence) == ("unchecked", said)


def test_a_doubtful_published_fp32_is_never_a_gate(monkeypatch):
    key = ("ResNet50 v1.5", "fp32")
    doubtful = {key: replace(published("2")[key], confidence="doubtful")}
    monkeypatch.setattr(baseline, "published", lambda table: doubtful)
    assert check_baseline(row(50.0, fp32=50.0), TORCHVISION).sentence == "the published fp32, 76.16, is doubtful"
