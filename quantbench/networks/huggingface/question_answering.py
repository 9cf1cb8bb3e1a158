"""Extractive question answering: windows over a long paragraph, and the best span of all of them.

The procedure is that of Google's run_squad.py for BERT (Devlin et al. 2018), as NVIDIA's BERT uses it: windows of
`max_length` tokens that start every `stride` tokens, the 20 best starts and ends of each, answers up to 30 tokens. A
start that several windows show counts in the one that shows most of its surroundings. As there, the 20 best are those
of all tokens of a window, question and separators too, which are no answer; padding, which there takes part too, is
left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantbench.errors import UserError

N_BEST = 20
LONGEST_ANSWER = 30  # tokens
LONGEST_QUESTION = 64  # tokens; the rest of the question is cut off


@dataclass(frozen=True)
class Window:
    """One part of a paragraph behind its question, as a network reads it.

    `inputs` are the tokenizer's, int64 [tokens] each, by name. `first` is the position of the first token of the
    paragraph in the window, `begins` that token's number in the paragraph, and `spans` int64 [n, 2] holds for the n
    tokens of the paragraph where in the paragraph's characters each begins and ends.
    """

    inputs: dict[str, Tensor]
    first: int
    begins: int
    spans: NDArray[np.int64]


def windower(tokenizer: Any, max_length: int, stride: int) -> Callable[[str, str], list[Window]]:
    """A function from question and paragraph to the windows; it remembers the last few, which are asked for again.

    It raises UserError where a question fills the window.
    """

    @lru_cache(maxsize=1 << 14)
    def windows(question: str, paragraph: str) -> list[Window]:
        question, asked = _cut(tokenizer, question)
        room = max_length - asked - tokenizer.num_special_tokens_to_add(pair=True)
        if room < 1:
            raise UserError(f"model.max_length={max_length}: a question of {asked} tokens leaves the paragraph no room")
        found = tokenizer(
            question,
            paragraph,
            truncation="only_second",
            max_length=max_length,
            # The tokenizer's own stride is how much two windows share.
            stride=max(0, room - stride),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        return _windows(found, tokenizer.model_input_names, step=min(room, stride))

    return windows


def _cut(tokenizer: Any, question: str) -> tuple[str, int]:
    """The question without what is behind its LONGEST_QUESTION tokens, and how many tokens it has then."""
    places = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(places) <= LONGEST_QUESTION:
        return question, len(places)
    question = question[: places[LONGEST_QUESTION - 1][1]]
    # A word that is cut may fall into other tokens than it did as a whole.
    return question, len(tokenizer(question, add_special_tokens=False)["input_ids"])


def _windows(found: Any, names: list[str], step: int) -> list[Window]:
    windows: list[Window] = []
    for i in range(len(found["input_ids"])):
        places = [place for place, sequence in enumerate(found.sequence_ids(i)) if sequence == 1]
        spans = [found["offset_mapping"][i][place] for place in places]
        inputs = {name: torch.tensor(found[name][i]) for name in names if name in found}
        first = places[0] if places else len(found["input_ids"][i])
        windows.append(Window(inputs, first, i * step, np.array(spans, np.int64).reshape(-1, 2)))
    return windows


def best_answer(paragraph: str, windows: list[Window], logits: NDArray[np.float64]) -> str:
    """The text of the paragraph whose start and end together score highest over all windows.

    Args:
        paragraph: where the answer is.
        windows: k windows over it.
        logits: float [k, tokens, 2], start and end of each token of each window.

    Returns:
        The answer; empty where none of the best starts has an end behind it and near enough.
    """
    best, answer = -np.inf, ""
    for number, window in enumerate(windows):
        first, last = window.first, window.first + len(window.spans)
        start, end = logits[number, : len(window.inputs["input_ids"])].T
        ends = _largest(end)
        for s in _largest(start):
            if not first <= s < last or _most_context(windows, window.begins + s - first) != number:
                continue
            for e in ends:
                score = start[s] + end[e]
                if s <= e < min(s + LONGEST_ANSWER, last) and score > best:
                    best, answer = score, paragraph[window.spans[s - first, 0] : window.spans[e - first, 1]]
    return answer


def _largest(scores: NDArray[np.float64]) -> list[int]:
    """The places of the N_BEST largest scores, largest first, the first of equal ones first."""
    return [int(place) for place in np.argsort(-scores, kind="stable")[:N_BEST]]


def _most_context(windows: list[Window], token: int) -> int:
    """The window in which a token of the paragraph has most tokens on its shorter side; of equal ones the first."""

    def context(window: Window) -> float:
        left, right = token - window.begins, window.begins + len(window.spans) - 1 - token
        return min(left, right) + 0.01 * len(window.spans) if left >= 0 and right >= 0 else -1.0

    return max(range(len(windows)), key=lambda number: context(windows[number]))
