"""Windows and answers, by hand and against a transcription of Google's run_squad.py (google-research/bert)."""

import collections

import numpy as np
import pytest
import torch

from quantbench.errors import UserError
from quantbench.networks.huggingface.question_answering import Window, _most_context, best_answer, windower
from tests.tiny_language import tokenizer

WORDS = [f"w{i}" for i in range(40)]
PARAGRAPH = " ".join(WORDS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tokenizer(tmp_path_factory.mktemp("tokenizer"), "who", "?", *WORDS, "long", "##est")


def shown(window):
    """The words of the paragraph in a window."""
    return [PARAGRAPH[start:end] for start, end in window.spans]


def test_windows_start_every_stride_tokens(tiny):
    # [CLS] who ? [SEP] ... [SEP] leave 15 of 20 tokens to the paragraph.
    windows = windower(tiny, 20, 10)("who?", PARAGRAPH)
    assert [window.begins for window in windows] == [0, 10, 20, 30]
    assert [shown(window) for window in windows] == [WORDS[0:15], WORDS[10:25], WORDS[20:35], WORDS[30:40]]
    assert [window.first for window in windows] == [4, 4, 4, 4]
    assert [len(window.inputs["input_ids"]) for window in windows] == [20, 20, 20, 15]
    assert windows[3].inputs["token_type_ids"].tolist() == [0] * 4 + [1] * 11
    tokens = tiny.convert_ids_to_tokens(windows[3].inputs["input_ids"])
    assert tokens == ["[CLS]", "who", "?", "[SEP]", *WORDS[30:], "[SEP]"]


@pytest.mark.parametrize(
    ("max_length", "stride", "begins"),
    [
        (45, 10, [0]),  # all 40 fit
        (44, 10, [0, 10]),
        (44, 39, [0, 39]),
        (44, 100, [0, 39]),  # no more than a window: none is left out
        (20, 15, [0, 15, 30]),
        (20, 14, [0, 14, 28]),
        (20, 25, [0, 15, 30]),
        (6, 1, list(range(40))),
    ],
)
def test_the_last_window_is_the_first_that_reaches_the_end(tiny, max_length, stride, begins):
    windows = windower(tiny, max_length, stride)("who?", PARAGRAPH)
    assert [window.begins for window in windows] == begins
    assert [shown(window)[0] for window in windows] == [WORDS[begin] for begin in begins]
    assert {word for window in windows for word in shown(window)} == set(WORDS)


def test_the_question_is_cut_off_behind_64_tokens(tiny):
    question = " ".join(["who"] * 63 + ["longest"] + ["w1"] * 10)
    windows = windower(tiny, 80, 5)(question, PARAGRAPH)
    # "longest" is two tokens: the first is the 64th. 80 - 64 - 3 leaves 13.
    assert tiny.convert_ids_to_tokens(windows[0].inputs["input_ids"])[62:67] == ["who", "who", "long", "[SEP]", "w0"]
    assert windows[0].first == 66
    assert [window.begins for window in windows] == [0, 5, 10, 15, 20, 25, 30]
    assert [shown(window)[0] for window in windows] == [WORDS[begin] for begin in (0, 5, 10, 15, 20, 25, 30)]


def test_a_question_that_fills_the_window_is_refused(tiny):
    with pytest.raises(UserError, match=r"max_length=9: a question of 6 tokens leaves the paragraph no room"):
        windower(tiny, 9, 4)("who who who who who?", PARAGRAPH)
    assert len(windower(tiny, 10, 4)("who who who who who?", PARAGRAPH)) == 40


def test_spans_are_of_the_text_as_it_was_written(tmp_path):
    paragraph = "  Amélie\u00a0 Poulain\n(ÉTÉ)"
    accents = tokenizer(tmp_path, "amelie", "poulain", "(", "ete", ")", "who")
    (window,) = windower(accents, 16, 4)("who", paragraph)
    assert [paragraph[s:e] for s, e in window.spans] == ["Amélie", "Poulain", "(", "ÉTÉ", ")"]


def test_a_paragraph_without_a_token_has_no_answer(tiny):
    windows = windower(tiny, 16, 4)("who", " ")
    assert [len(window.spans) for window in windows] == [0]
    assert best_answer(" ", windows, np.zeros((1, 16, 2))) == ""


def window(first, begins, count, behind=1):
    """A window of `first` tokens of question, `count` of PARAGRAPH and one behind; all words have two letters here."""
    spans = [(3 * (begins + i), 3 * (begins + i) + 2) for i in range(count)]
    return Window({"input_ids": torch.zeros(first + count + behind)}, first, begins, np.array(spans).reshape(-1, 2))


TEXT = " ".join(f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60))  # aa ab ac ...


def text(start, end):
    """Of the words from number `start` to number `end`."""
    return TEXT[3 * start : 3 * end + 2]


def logits(windows, *peaks, low=-9.0):
    """All low but for (window, "start" or "end", token of the window, value)."""
    found = np.full((len(windows), 80, 2), low)
    for number, side, token, value in peaks:
        found[number, token, ("start", "end").index(side)] = value
    return found


def test_most_context_by_hand():
    windows = [window(4, begins, 15) for begins in (0, 10, 20)]
    # Token 12: 2 on the shorter side of the first window (right), 2 of the second (left): the first counts.
    assert [_most_context(windows, token) for token in (0, 9, 11, 12, 13, 14, 21, 22, 23, 34)] == [
        *(0, 0, 0, 0, 1, 1, 1, 1, 2, 2),
    ]
    # A tie of 1 and 1 goes to the longer window, by 0.01 a token.
    assert _most_context([window(4, 0, 6), window(4, 3, 15)], 4) == 1


def test_the_best_pair_of_one_window():
    (one,) = windows = [window(3, 0, 40)]
    assert one.first == 3
    peaks = [(0, "start", 3 + 5, 4.0), (0, "end", 3 + 7, 5.0), (0, "end", 3 + 4, 9.0)]  # the best end is before it
    assert best_answer(TEXT, windows, logits(windows, *peaks)) == text(5, 7)
    peaks += [(0, "start", 3 + 2, 1.0)]  # 1 + 9 is more than 4 + 5
    assert best_answer(TEXT, windows, logits(windows, *peaks)) == text(2, 4)


def test_an_answer_has_30_tokens_at_most():
    windows = [window(3, 0, 40)]
    far = [(0, "start", 3 + 5, 4.0), (0, "end", 3 + 35, 5.0), (0, "end", 3 + 6, 1.0)]
    assert best_answer(TEXT, windows, logits(windows, *far)) == text(5, 6)
    near = [(0, "start", 3 + 5, 4.0), (0, "end", 3 + 34, 5.0), (0, "end", 3 + 6, 1.0)]
    assert best_answer(TEXT, windows, logits(windows, *near)) == text(5, 34)


def test_question_and_separators_are_no_answer_but_take_their_place_among_the_20_best():
    windows = [window(19, 0, 40)]
    base = [(0, "end", 19 + 3, 2.0), (0, "start", 19 + 2, 0.0)]
    question = [(0, "start", token, 5.0) for token in range(19)]
    assert best_answer(TEXT, windows, logits(windows, *base, *question)) == text(2, 3)
    behind = [(0, "start", 59, 5.0)]  # the 20th that is better: the separator behind the paragraph
    assert best_answer(TEXT, windows, logits(windows, *base, *question, *behind)) == ""
    padding = [(0, "start", token, 5.0) for token in range(60, 80)]
    assert best_answer(TEXT, windows, logits(windows, *base, *question, *padding)) == text(2, 3)


def test_20_starts_are_tried():
    windows = [window(1, 0, 50)]
    # The best end is token 3, the other 19 that are tried are the first ones: behind none of the 20 best starts.
    peaks = [(0, "start", 1 + 20 + i, 3.0) for i in range(20)] + [(0, "start", 1, 2.0), (0, "end", 1 + 3, 9.0)]
    found = logits(windows, *peaks)
    assert best_answer(TEXT, windows, found) == ""
    found[0, 1 + 20, 0] = -9.0
    assert best_answer(TEXT, windows, found) == text(0, 3)


def test_20_ends_are_tried():
    windows = [window(1, 0, 50)]
    # The best start is token 30: the 21st end alone is behind it.
    peaks = [(0, "end", 1 + i, 3.0) for i in range(20)] + [(0, "start", 1 + 30, 9.0), (0, "end", 1 + 31, 2.0)]
    found = logits(windows, *peaks)
    assert best_answer(TEXT, windows, found) == text(0, 0)
    found[0, 1, 1] = -9.0
    assert best_answer(TEXT, windows, found) == text(30, 31)


def test_the_first_of_equal_answers_counts():
    windows = [window(3, 0, 40)]
    peaks = [(0, "start", 3 + s, 4.0) for s in (6, 2)] + [(0, "end", 3 + e, 5.0) for e in (9, 12)]
    assert best_answer(TEXT, windows, logits(windows, *peaks)) == text(2, 9)


def test_a_start_counts_in_the_window_with_most_context_only():
    windows = [window(4, begins, 15) for begins in (0, 10, 20)]
    # Token 13 is number 4 + 13 of window 0 and 4 + 3 of window 1; window 1 shows more around it.
    peaks = [(0, "start", 4 + 13, 9.0), (0, "end", 4 + 14, 9.0), (1, "start", 4 + 3, 1.0), (1, "end", 4 + 6, 1.0)]
    assert best_answer(TEXT, windows, logits(windows, *peaks)) == text(13, 16)
    # The end may be anywhere in that window, also where another one shows more around it.
    peaks += [(1, "end", 4 + 14, 2.0)]
    assert best_answer(TEXT, windows, logits(windows, *peaks)) == text(13, 24)


def test_the_best_of_all_windows_counts():
    windows = [window(4, begins, 15) for begins in (0, 10, 20)]
    peaks = [(n, side, 4 + 7, float(value)) for n, value in ((0, 3), (1, 5), (2, 4)) for side in ("start", "end")]
    assert best_answer(TEXT, windows, logits(windows, *peaks)) == text(17, 17)


# What follows is run_squad.py's own way, as it stands there: doc_spans and _check_is_max_context of
# convert_examples_to_features, _get_best_indexes and the choice of write_predictions.

Span = collections.namedtuple("Span", ["start", "length"])


def google_spans(tokens, room, doc_stride):
    doc_spans = []
    start_offset = 0
    while start_offset < tokens:
        length = tokens - start_offset
        if length > room:
            length = room
        doc_spans.append(Span(start=start_offset, length=length))
        if start_offset + length == tokens:
            break
        start_offset += min(length, doc_stride)
    return doc_spans


def google_is_max_context(doc_spans, cur_span_index, position):
    best_score = None
    best_span_index = None
    for span_index, doc_span in enumerate(doc_spans):
        end = doc_span.start + doc_span.length - 1
        if position < doc_span.start:
            continue
        if position > end:
            continue
        num_left_context = position - doc_span.start
        num_right_context = end - position
        score = min(num_left_context, num_right_context) + 0.01 * doc_span.length
        if best_score is None or score > best_score:
            best_score = score
            best_span_index = span_index
    return cur_span_index == best_span_index


def google_best_indexes(values, n_best_size):
    index_and_score = sorted(enumerate(values), key=lambda x: x[1], reverse=True)
    return [index for index, _ in index_and_score[:n_best_size]]


def google_answer(doc_spans, query, found, n_best_size=20, max_answer_length=30):
    """First and last token of the answer in the paragraph; None where there is none."""
    prelim_predictions = []
    for feature_index, doc_span in enumerate(doc_spans):
        token_to_orig_map = {query + 2 + i: doc_span.start + i for i in range(doc_span.length)}
        tokens = query + 3 + doc_span.length
        for start_index in google_best_indexes(found[feature_index, :tokens, 0], n_best_size):
            for end_index in google_best_indexes(found[feature_index, :tokens, 1], n_best_size):
                if start_index not in token_to_orig_map or end_index not in token_to_orig_map:
                    continue
                if not google_is_max_context(doc_spans, feature_index, token_to_orig_map[start_index]):
                    continue
                if end_index < start_index:
                    continue
                if end_index - start_index + 1 > max_answer_length:
                    continue
                score = found[feature_index, start_index, 0] + found[feature_index, end_index, 1]
                prelim_predictions.append((score, token_to_orig_map[start_index], token_to_orig_map[end_index]))
    prelim_predictions = sorted(prelim_predictions, key=lambda x: x[0], reverse=True)
    return prelim_predictions[0][1:] if prelim_predictions else None


@pytest.mark.parametrize("seed", range(8))
def test_all_is_as_run_squad_does_it(tiny, seed):
    generator = np.random.default_rng(seed)
    for _ in range(25):
        query, tokens = (int(generator.integers(1, high)) for high in (12, 41))
        max_length, stride = query + 3 + int(generator.integers(1, 30)), int(generator.integers(1, 30))
        paragraph = " ".join(WORDS[:tokens])
        windows = windower(tiny, max_length, stride)(" ".join(["who"] * query), paragraph)
        spans = google_spans(tokens, max_length - query - 3, stride)
        assert [(window.begins, len(window.spans)) for window in windows] == spans
        for token in range(tokens):
            own = _most_context(windows, token)
            assert [google_is_max_context(spans, i, token) for i in range(len(spans))] == [
                i == own for i in range(len(spans))
            ]
        # Few different values, so that many are equal.
        found = generator.integers(0, 30, (len(windows), max_length, 2)) / 2.0
        expected = google_answer(spans, query, found)
        words = "" if expected is None else " ".join(WORDS[expected[0] : expected[1] + 1])
        assert best_answer(paragraph, windows, found) == words
