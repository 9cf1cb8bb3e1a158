"""What the report has to know of each metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """A metric in words. `kind` is what the paper's table 2 calls the task of networks that are judged so."""

    kind: str
    meaning: str
    share: bool = False  # of right answers among the samples, so that fp32 has a binomial interval


METRICS = {
    "top1": About("classification", "the percentage of samples whose first answer is right", share=True),
    "top5": About("classification", "the percentage of samples with the right one among five answers", share=True),
    "f1": About("question answering", "the mean overlap in words with the best of the right answers, in percent"),
    "exact_match": About("question answering", "the percentage of questions answered with the very words", share=True),
    "pearson": About("similarity", "100 times the correlation with people's judgement"),
    "spearman": About("similarity", "100 times the correlation of ranks with people's judgement"),
    "wacc": About("speech recognition", "100 minus the word error rate of all utterances together, in percent"),
    "cacc": About("speech recognition", "100 minus the letter error rate of all utterances together, in percent"),
}


def kind(metric: str | None) -> str:
    """What networks with this metric do, in words; empty where nobody has said."""
    return METRICS[metric].kind if metric in METRICS else ""


def is_share(metric: str | None) -> bool:
    """Whether a metric is a share of right answers, and not a mean of scores or a correlation."""
    return metric in METRICS and METRICS[metric].share


def explained(metrics: Iterable[str | None]) -> str:
    """A sentence on what each of these metrics is, with a space behind it; empty where none is known."""
    said = [f"{name} is {METRICS[name].meaning}" for name in dict.fromkeys(metrics) if name in METRICS]
    return f"{'; '.join(said)}. " if said else ""


def is_same(metric: str | None, published: str) -> bool:
    """Whether a metric is the one that the paper writes in its own way: top1 and Top1, wacc and WAcc (=100-WER)."""
    name = published.partition("(")[0]
    return metric is not None and metric.replace("_", "").lower() == name.replace("-", "").replace(" ", "").lower()
