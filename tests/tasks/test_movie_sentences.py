import hashlib

import pytest

from quantbench import tasks
from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks import movie_sentences as movies

FILE = "movieReviewSnippets_GroundTruth.txt"


def rows():
    """Identifier, rating and sentence of every line of the file."""
    lines = (fetch("movie_sentences") / FILE).read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t") for line in lines]


def test_the_split_never_changes():
    test = movies.test_sentences()
    assert (len(test), len(movies.training_sentences())) == (2000, 8566)
    ids = hashlib.sha256("\n".join(name for name, _, _ in test).encode()).hexdigest()
    assert ids == "121eee7c9a234e146692551cf52eb505b7474991c1e96216477cce2c7ac045ee"
    assert sum(target for _, _, target in test) == 968


def test_training_and_test_share_no_sentence():
    training, test = ({text for _, text, _ in side} for side in (movies.training_sentences(), movies.test_sentences()))
    assert not training & test
    # Every sentence once: 10,605 lines, 37 of them neutral, two that occur twice.
    assert len(training) + len(test) == 10_605 - 37 - 2
    assert training | test == {text for _, rating, text in rows() if float(rating) != 0}


def test_the_class_is_the_sign_of_the_rating():
    ratings = {name: (float(rating), text) for name, rating, text in rows()}
    for name, text, target in (*movies.training_sentences(), *movies.test_sentences()):
        rating, known = ratings[name]
        assert text == known and rating != 0 and target == int(rating > 0), name


def test_the_task():
    task = tasks.load({"name": "movie_sentences", "calibration_samples": 40, "seed": 3})
    assert (task.name, [metric.name for metric in task.metrics]) == ("movie_sentences", ["top1"])
    assert (len(task.evaluation), len(task.calibration)) == (2000, 40)
    assert [(s.id, s.read(), s.target) for s in task.evaluation] == movies.test_sentences()
    drawn = {(s.id, s.read(), s.target) for s in task.calibration}
    assert len(drawn) == 40 and drawn <= set(movies.training_sentences())
    other = tasks.load({"name": "movie_sentences", "calibration_samples": 40, "seed": 4})
    assert [s.id for s in other.evaluation] == [s.id for s in task.evaluation]
    assert [s.id for s in other.calibration] != [s.id for s in task.calibration]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda content: b"\n".join(content.split(b"\n")[:-1]), "10604 sentences instead of 10605"),
        (lambda content: content.replace(b"2.26666666667", b"good", 1), "could not convert"),
        (lambda content: content.replace(b"sentiment", b"rating", 1), "KeyError"),
    ],
)
def test_a_damaged_file(tmp_path, monkeypatch, change, why):
    folder = tmp_path / "movie_sentences"
    folder.mkdir()
    (folder / FILE).write_bytes(change((fetch("movie_sentences") / FILE).read_bytes()))
    monkeypatch.setattr(movies, "fetch", lambda name: folder)
    movies._shuffled.cache_clear()
    try:
        with pytest.raises(UserError, match=rf"^[^\n]*{FILE} is damaged \([^\n]*{why}[^\n]*--force movie_sentences'$"):
            tasks.load({"name": "movie_sentences", "calibration_samples": 4, "seed": 0})
    finally:
        movies._shuffled.cache_clear()
