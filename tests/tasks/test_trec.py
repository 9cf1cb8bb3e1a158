from collections import Counter

import pytest

from quantbench import tasks
from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks import trec


@pytest.fixture
def damage(tmp_path, monkeypatch):
    """Put another content into the place of trec.csv, which a function of its lines makes."""

    def put(change):
        folder = tmp_path / "trec"
        folder.mkdir()
        lines = (fetch("trec") / "trec.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "trec.csv").write_bytes(change(lines))
        monkeypatch.setattr(trec, "fetch", lambda name: folder)
        trec._rows.cache_clear()

    yield put
    trec._rows.cache_clear()


def test_the_split_is_the_official_one():
    training, test = trec.training_questions(), trec.test_questions()
    assert (len(trec._rows()), len(test)) == (5952, 500)
    assert Counter(target for _, target in test) == {0: 138, 1: 94, 2: 9, 3: 65, 4: 113, 5: 81}
    assert test[0] == ("How far is it from Denver to Aspen ?", trec.CLASSES.index("number"))
    assert training[0] == ("How did serfdom develop in and then leave Russia ?", trec.CLASSES.index("description"))
    assert {target for _, target in training} == set(range(6))


def test_no_question_of_the_test_is_in_training():
    training, test = trec.training_questions(), trec.test_questions()
    assert not {question.lower() for question, _ in training} & {question.lower() for question, _ in test}
    # 11 of the test occur in the published training set, one of them in other case.
    published = [question for question, _ in trec._rows()[:5452]]
    assert sum(question in published for question, _ in test) == 10
    assert sum(question.lower() in {q.lower() for q in published} for question, _ in test) == 11
    assert len(training) == 5452 - 11


def test_the_task():
    task = tasks.load({"name": "trec", "calibration_samples": 40, "seed": 3})
    assert (task.name, [metric.name for metric in task.metrics]) == ("trec", ["top1"])
    assert (len(task.evaluation), len(task.calibration)) == (500, 40)
    sample = task.evaluation[0]
    assert (sample.id, sample.read(), sample.target) == ("test/000", "How far is it from Denver to Aspen ?", 4)
    ids = [sample.id for sample in task.calibration]
    assert len(set(ids)) == 40 and all(name.startswith("train/") for name in ids)
    question, target = trec.training_questions()[int(ids[7].removeprefix("train/"))]
    assert (task.calibration[7].read(), task.calibration[7].target) == (question, target)
    larger = tasks.load({"name": "trec", "calibration_samples": 60, "seed": 3})
    assert [sample.id for sample in larger.calibration[:40]] == ids


def without_last(lines):
    return "".join(lines[:-1]).encode()


def no_class(lines):
    return "".join([*lines[:3], lines[3].replace(",", ",x", 1), *lines[4:]]).encode()


def class_of_another_data_set(lines):
    number, _, rest = lines[3].split(",", 2)
    return "".join([*lines[:3], f"{number},6,{rest}", *lines[4:]]).encode()


def other_columns(lines):
    return "".join(["a,b,c,d\n", *lines[1:]]).encode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without_last, "5951 questions instead of 5952"),
        (no_class, "invalid literal"),
        (class_of_another_data_set, "there is no class 6"),
        (other_columns, "KeyError"),
        (lambda lines: b"label-coarse,text\n1,\xff\n", "UnicodeDecodeError"),
    ],
)
def test_a_damaged_file(damage, change, why):
    damage(change)
    with pytest.raises(UserError, match=rf"^[^\n]*trec\.csv is damaged \([^\n]*{why}[^\n]*fetch --force trec'$"):
        tasks.load({"name": "trec", "calibration_samples": 4, "seed": 0})
