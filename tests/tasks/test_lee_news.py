import shutil
from itertools import combinations

import numpy as np
import pytest

from quantbench import tasks
from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks import lee_news
from quantbench.tasks.metrics.correlation import PEARSON, SPEARMAN


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
