import numpy as np
import pytest
import torch

from quantbench.errors import UserError
from quantbench.tasks.metrics.question_answering import exact_match, f1


@pytest.mark.parametrize(
    ("answer", "golds", "em", "overlap"),
    [
        ("Denver Broncos", ["Denver Broncos"], 100, 100),
        ("the  denver broncos!", ["Denver Broncos"], 100, 100),
        # 3 words against 2, both of these among them: precision 2/3, recall 1.
        ("Denver Broncos team", ["Denver Broncos"], 0, 80),
        ("Broncos", ["Denver Broncos", "the Broncos"], 100, 100),
        ("Broncos team", ["Denver Broncos", "a b c Broncos"], 0, 50),  # the best of 1/2 and 2 * 1/2 * 1/3 / (5/6)
        # A word counts as often as both have it: 2 of 3 and 2 of 2.
        ("go go go", ["go go"], 0, 80),
        ("", ["Denver"], 0, 0),
        ("Amelie", ["Amélie"], 0, 0),
        ("1.5 million", ["15 million"], 100, 100),  # punctuation is removed, as the official script does
    ],
)
def test_scores_by_hand(answer, golds, em, overlap):
    found = f1([answer], [golds]), exact_match([answer], [golds])
    assert all(scores.dtype == np.float64 and scores.shape == (1,) for scores in found)
    assert found[0][0] == pytest.approx(overlap, abs=1e-4) and found[1][0] == em


def test_every_question_has_its_own_score():
    golds = [["a b c d"], ["x"], ["y"]]
    assert f1(["b c", "x", "z"], golds).tolist() == pytest.approx([80, 100, 0], abs=1e-4)
    assert exact_match(["b c", "x", "z"], golds).tolist() == [0, 100, 0]


@pytest.mark.parametrize("answers", [[0.5, 0.25], torch.zeros(2, 6)])
def test_answers_that_are_no_texts_are_refused(answers):
    with pytest.raises(UserError, match=r"squad asks for texts: give a network with model\.head=question_answering"):
        f1(answers, [["a"], ["b"]])
