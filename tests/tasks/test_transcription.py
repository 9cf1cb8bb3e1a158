import numpy as np
import pytest

from quantbench.tasks.transcription import LETTER_ACCURACY, WORD_ACCURACY


def test_word_errors_are_summed_over_all_transcripts():
    answers = ["the cat sat", "a dog", "", "one two three four"]
    targets = ["the cat sat down", "the dog", "hello there", "one"]
    parts = WORD_ACCURACY.parts(answers, targets)
    assert parts.tolist() == [[1, 4], [1, 2], [2, 2], [3, 1]]
    assert WORD_ACCURACY.value(parts) == pytest.approx(100 * 2 / 9)
    assert WORD_ACCURACY.value(parts[3:]) == -200  # more errors than words


def test_letter_errors_count_blanks():
    parts = LETTER_ACCURACY.parts(["abc", "a b", "xyz"], ["abd", "ab", "xyz"])
    assert parts.tolist() == [[1, 3], [1, 2], [0, 3]]
    assert LETTER_ACCURACY.value(parts) == 100 - 100 * 2 / 8


def test_what_nobody_knows_is_nan():
    assert np.isnan(WORD_ACCURACY.parts(["a"], [None])).all()
