import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from quantbench.errors import UserError
from quantbench.tasks.metrics.correlation import pearson, spearman, with_targets


def test_correlations_are_those_of_scipy():
    generator = np.random.default_rng(0)
    for _ in range(20):
        parts = generator.normal(size=(30, 2)).round(1)  # some values are equal
        parts[:, 1] += parts[:, 0] * generator.normal()
        assert pearson(parts) == pytest.approx(100 * stats.pearsonr(*parts.T).statistic)
        assert spearman(parts) == pytest.approx(100 * stats.spearmanr(*parts.T).statistic)


def test_correlations_by_hand():
    assert pearson(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])) == pytest.approx(100)
    parts = np.array([[1.0, 1.0], [2.0, 8.0], [3.0, 27.0], [4.0, 0.0]])
    # Ranks 1 2 3 4 and 2 3 4 1: 1 - 6 * (1 + 1 + 1 + 9) / (4 * 15)
    assert spearman(parts) == pytest.approx(-20)


@pytest.mark.parametrize("value", [0.0, 0.5, 0.1, -1e-9, 1e300])
def test_constant_answers_give_0(value):
    varied = np.array([0.1, 0.5, 0.3])
    constant = np.full(3, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((constant, varied), (varied, constant), (constant, constant), (constant, np.full(3, 0.1))):
            assert (pearson(np.column_stack(pair)), spearman(np.column_stack(pair))) == (0, 0)


def test_answers_stand_beside_targets():
    parts = with_targets([0.5, 0.25], [1, None])
    assert parts.dtype == np.float64
    assert parts[0].tolist() == [0.5, 1.0] and parts[1, 0] == 0.25 and np.isnan(parts[1, 1])
    assert with_targets(torch.tensor([[0.5], [0.25]]), [1.0, 0.0]).tolist() == [[0.5, 1.0], [0.25, 0.0]]


@pytest.mark.parametrize("answers", [torch.zeros(2, 3), ["one", "two"]])
def test_other_answers_are_refused(answers):
    with pytest.raises(UserError, match=r"one number a sample: give a network with model\.head=embedding"):
        with_targets(answers, [0.1, 0.2])
