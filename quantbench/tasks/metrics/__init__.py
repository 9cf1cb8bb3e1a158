"""How answers are judged: what each sample contributes, and the figure of a set of samples. Imports no torch.

One list serves the run, the gate and the report.
"""

from __future__ import annotations

from quantbench.tasks.metrics.classification import ACCURACY
from quantbench.tasks.metrics.correlation import PEARSON, SPEARMAN
from quantbench.tasks.metrics.metric import Metric
from quantbench.tasks.metrics.question_answering import EXACT_MATCH, F1
from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (ACCURACY, F1, EXACT_MATCH, PEARSON, SPEARMAN, WORD_ACCURACY, LETTER_ACCURACY)
}
"""All metrics by name."""
