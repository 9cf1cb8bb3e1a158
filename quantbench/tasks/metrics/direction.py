"""Which way a metric is better: the names of the field, for figures that others measured."""

from __future__ import annotations

import re
from collections.abc import Collection

# As they are compared: small letters and digits only, so that `Top-1` is top1. Whole names: `100 - WER` is none.
_HIGHER = """
classification and retrieval:
top1 top5 acc acc1 acc5 accuracy top1accuracy top5accuracy top1acc top5acc balancedaccuracy precision recall
sensitivity specificity f1 f1score macrof1 microf1 weightedf1 auc auroc rocauc auprc averageprecision ap mcc
matthewscorrelation kappa ndcg mrr hitrate
detection and segmentation:
map map50 map5095 map75 bboxmap segmmap iou miou meaniou dice dicescore pixelaccuracy pq
text:
exactmatch em bleu sacrebleu rouge rouge1 rouge2 rougel rougelsum meteor chrf bertscore comet passat1
correlation, images, speech:
pearson pearsonr spearman spearmanr kendall kendalltau stscorrelation r2 psnr ssim sqnr snr sisdr pesq stoi mos
wacc cacc wordaccuracy characteraccuracy letteraccuracy
"""
_LOWER = """
wer cer per ter der eer worderrorrate charactererrorrate phoneerrorrate error errorrate top1error top5error err
loss evalloss testloss valloss crossentropy nll ppl perplexity bpc bpb bitsperbyte bitspercharacter
mae mse rmse rmsle mape smape meanabsoluteerror meansquarederror rootmeansquarederror
fid kid lpips ece brier brierscore hammingloss epe absrel fpr
"""


def _names(lists: str) -> frozenset[str]:
    lines = (line for line in lists.splitlines() if not line.endswith(":"))
    return frozenset(name for line in lines for name in line.split())


HIGHER, LOWER = _names(_HIGHER), _names(_LOWER)


def plain(name: str) -> str:
    """A metric's name as it is compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def lower_is_better(name: str, lower: Collection[str] = (), higher: Collection[str] = ()) -> bool | None:
    """Whether a metric is better when it is lower; None where nobody knows.

    Args:
        name: of the metric.
        lower: names that somebody says are better when lower, whatever they are known for.
        higher: names that somebody says are better when higher.
    """
    for names, answer in ((lower, True), (higher, False)):
        if plain(name) in map(plain, names):
            return answer
    return True if plain(name) in LOWER else False if plain(name) in HIGHER else None
