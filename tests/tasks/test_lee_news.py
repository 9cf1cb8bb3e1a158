import shutil
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from quantbench import tasks
from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks import lee_news
from quantbench.tasks.lee_news import PEARSON, SPEARMAN, pearson, spearman, with_targets


@pytest.fixture(scope="module")
def task():
    return tasks.load({"name": "lee_news", "calibration_samples": 20, "seed": 0})


def test_all_pairs_are_evaluated_once(task):
    assert (task.name, task.metrics, task.predict) == ("lee_news", (PEARSON, SPEARMAN), None)
    assert len(task.evaluation) == 1225 == len({frozenset(sample.read()) for sample in task.evaluation})
    assert [sample.id for sample in task.evaluation] == [f"{i:02d}-{j:02d}" for i, j in combinations(range(50), 2)]
    lines = (fetch("lee_news") / "lee.cor").read_text(encoding="latin-1").splitlines()
    assert task.evaluation[49].id == "01-02" and task.evaluation[49].read() == (lines[1], lines[2])


def test_targets_are_those_of_the_upper_triangle(task):
    judged = np.loadtxt(fetch("lee_news") / "similarities0-1.txt")
    assert not np.tril(judged, -1).any()  # the other half of the file is not filled in
    assert (np.diag(judged) == 1).all()
    assert [sample.target for sample in task.evaluation] == judged[np.triu_indices(50, 1)].tolist()
    assert task.evaluation[0].target == 0.3 and task.evaluation[1].target == 0.24
    assert min(s.target for s in task.evaluation) >= 0 and max(s.target for s in task.evaluation) <= 1


def test_other_texts_calibrate(task):
    evaluated = {text for sample in task.evaluation for text in sample.read()}
    drawn = [sample.read() for sample in task.calibration]
    assert len(set(drawn)) == 20 and all(isinstance(text, str) for text in drawn)
    assert not set(drawn) & evaluated
    assert all(sample.target is None for sample in task.calibration)
    with pytest.raises(UserError, match="must be from 1 to 300"):
        tasks.load({"name": "lee_news", "calibration_samples": 301, "seed": 0})


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


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("lee.cor", lambda content: b"\n".join(content.split(b"\n")[:49]), "49 texts instead of 50"),
        ("lee_background.cor", lambda content: content[:1000], "1 texts instead of 300"),
        ("similarities0-1.txt", lambda content: content[: content.index(b"\n") + 1] * 49, r"shape \(49, 50\)"),
        ("similarities0-1.txt", lambda content: content.replace(b"0.24", b"high", 1), "could not convert"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_damaged_file(tmp_path, monkeypatch, name, change, why):
    folder = shutil.copytree(fetch("lee_news"), tmp_path / "lee_news")
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    monkeypatch.setattr(lee_news, "fetch", lambda _: folder)
    with pytest.raises(UserError, match=rf"^[^\n]*{name} is damaged \([^\n]*{why}[^\n]*--force lee_news'$"):
        tasks.load({"name": "lee_news", "calibration_samples": 4, "seed": 0})
