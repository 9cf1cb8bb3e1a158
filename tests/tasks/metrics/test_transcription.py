from __future__ import annotations

import numpy as np
import pytest

from quantbench.errors import UserError
from quantbench.results.stats import bootstrap
from quantbench.tasks.metrics.transcription import (
    LETTER_ACCURACY,
    WORD_ACCURACY,
    accuracy,
    letter_errors,
    texts_alike,
    word_errors,
    written_alike,
)


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("HELLO THERE", "hello there"),
        (" Well -- \"I'm\" (not) Mr. O'Neil!", "well i'm not mr o'neil"),
        ("twenty-one caf\u00e9s, it\u2019s 5:30", "twenty one cafes it's 5 30"),
        ("the dogs' 'quoted' snake_case", "the dogs quoted snake case"),
        ("... ' - !", ""),
        ("", ""),
    ],
)
def test_texts_are_written_alike(text, alike):
    assert written_alike(text) == alike == written_alike(alike)


def test_errors_are_insertions_deletions_and_replacements():
    targets = ["the cat sat on the mat", "one two", "a b c", "word", None]
    answers = ["The cat sit on mat.", "One, two!", "a b c d e", "", "anything"]
    expected = [[2, 6], [0, 2], [2, 3], [1, 1], [np.nan, np.nan]]
    np.testing.assert_array_equal(word_errors(answers, targets), expected)


def test_letters_count_spaces_too():
    np.testing.assert_array_equal(letter_errors(["A cat.", "cut"], ["a cat", "cat"]), [[0, 5], [1, 3]])


def test_the_rate_is_that_of_the_corpus():
    parts = word_errors(["a x", "y"], ["a b", "c"])  # 1 of 2 and 1 of 1: not the mean of 50 and 100
    assert accuracy(parts) == pytest.approx(100 - 100 * 2 / 3)
    assert accuracy(word_errors(["a b c"], ["d"])) == -200.0
    assert (WORD_ACCURACY.name, WORD_ACCURACY.columns) == ("wacc", ("errors", "words"))
    assert not set(WORD_ACCURACY.columns) & set(LETTER_ACCURACY.columns)


def test_the_bootstrap_draws_utterances_again():
    before = np.array([[0.0, 4.0]] * 30 + [[4.0, 4.0]] * 10)
    after = before.copy()
    after[:5, 0] = 2.0
    change = bootstrap(lambda drawn: accuracy(after[drawn]) - accuracy(before[drawn]), len(before))
    assert change.value == pytest.approx(-100 * 10 / 160)
    assert change.low < change.value < change.high <= 0


def test_agreement_is_of_the_words():
    assert texts_alike(["Hello, you.", "hello you"]) == ["hello you"] * 2


def test_what_cannot_be_judged_is_one_line():
    with pytest.raises(UserError, match=r"sample 1 has the transcript '\?', in which nothing is said"):
        word_errors(["a", "b"], ["a", "?"])
    with pytest.raises(UserError, match="a transcript is asked for"):
        word_errors(np.zeros((1, 3)), ["a"])
