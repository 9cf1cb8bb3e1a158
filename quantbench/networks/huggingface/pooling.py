"""How the hidden states of a text become one embedding, as sentence-transformers declares it beside the weights.

A folder of that library has modules.json, which lists the steps, and 1_Pooling/config.json, which names the pooling.
What is declared and not known here is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantbench.errors import UserError

STEPS = ("Transformer", "Pooling", "Normalize")
SIMILARITIES = ("cosine", "dot")


def _weighted(states: Tensor, weight: Tensor) -> Tensor:
    """The sum of states [n, tokens, hidden] times weights [n, tokens]: [n, hidden]."""
    return (states * weight[..., None]).sum(1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _largest(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return _weighted(states, mask) / mask.sum(1, keepdim=True)


def _mean_sqrt(states: Tensor, mask: Tensor) -> Tensor:
    return _weighted(states, mask) / mask.sum(1, keepdim=True).sqrt()


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    weight = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=mask.dtype)
    return _weighted(states, weight) / weight.sum(1, keepdim=True)


def _last(states: Tensor, mask: Tensor) -> Tensor:
    place = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
    return states[torch.arange(len(states), device=states.device), place]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _largest,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
"""From the last hidden states [n, tokens, hidden] and the mask [n, tokens], 1 for text, to [n, hidden].

The names and the order in which several are joined are those of sentence-transformers' Pooling.
"""

_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Embedding:
    """What makes an embedding of a text, and of two embeddings an answer.

    Several poolings are joined. `declared` says whether a file says so. `length` is the most tokens that are read, None
    where nothing is declared; `lower` whether a text is read in lower case, `prompt` what precedes it.
    """

    poolings: tuple[str, ...] = ("mean",)
    normalize: bool = False
    similarity: str = "cosine"
    declared: bool = False
    length: int | None = None
    lower: bool = False
    prompt: str = ""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """The embeddings [n, hidden, or a multiple of it] of hidden states [n, tokens, hidden] under a mask."""
        weight = mask.to(states.dtype)
        pooled = torch.cat([POOLINGS[name](states, weight) for name in self.poolings], 1)
        return F.normalize(pooled, dim=1) if self.normalize else pooled

    def compare(self, first: Tensor, second: Tensor) -> float:
        """How alike two embeddings [hidden] are."""
        if self.similarity == "dot":
            return float(first @ second)
        return float(F.cosine_similarity(first, second, dim=0))

    def text(self, raw: str) -> str:
        """A text as the network is to read it."""
        return self.prompt + (raw.lower() if self.lower else raw)

    @property
    def words(self) -> str:
        """All of it in words, for the record."""
        more = [*(["normalized"] if self.normalize else []), *(["lower case"] if self.lower else [])]
        more += [f"prompt {self.prompt!r}"] if self.prompt else []
        return ", ".join([f"pooling {' and '.join(self.poolings)}", *more, f"compared by {self.similarity}"])


def embedding_of(folder: Path | None, pooling: str | None) -> Embedding:
    """The embedding that a folder declares, or the mean; `pooling` replaces the pooling.

    Raises UserError if the files are damaged, or declare what is not known here; the message names it.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise UserError(f"model.pooling={pooling}: must be one of {', '.join(POOLINGS)}, or null for the declared one")
    chosen = ("mean",) if pooling is None else (pooling,)
    if folder is None or not (folder / "modules.json").is_file():
        return Embedding(chosen)
    steps = _json(folder / "modules.json", list)
    kinds = [str(step.get("type")).rpartition(".")[2] for step in steps]
    if unknown := [kind for kind in kinds if kind not in STEPS]:
        raise UserError(
            f"{folder / 'modules.json'} declares the step {unknown[0]}: of the steps to an embedding, "
            f"{', '.join(STEPS)} are known"
        )
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UserError(f"{folder / 'modules.json'} declares {', '.join(kinds)}: the steps must be {', '.join(STEPS)}")
    if steps[0].get("path"):
        raise UserError(f"{folder}: the network is in its sub-folder {steps[0]['path']}: give that folder's name")
    declared = _poolings(folder / str(steps[1].get("path")) / "config.json") if pooling is None else chosen
    settings, reading = _settings(folder / "config_sentence_transformers.json"), _reading(folder)
    return Embedding(declared, "Normalize" in kinds, declared=True, **settings, **reading)


def _poolings(file: Path) -> tuple[str, ...]:
    found = _json(file, dict)
    if found.get("include_prompt") is False:
        raise UserError(f"{file} leaves the prompt out of the pooling (include_prompt), which is not known here")
    asked = found.get("pooling_mode")
    if asked is None:
        names = [_KEYS.get(key, key) for key, value in found.items() if key.startswith("pooling_mode") and value]
    else:
        names = [asked] if isinstance(asked, str) else list(asked)
    if unknown := [name for name in names if name not in POOLINGS]:
        raise UserError(f"{file} declares the pooling {unknown[0]}: known are {', '.join(POOLINGS)}")
    if not names:
        raise UserError(f"{file} declares no pooling: give model.pooling, one of {', '.join(POOLINGS)}")
    return tuple(name for name in POOLINGS if name in names)


def _settings(file: Path) -> dict[str, Any]:
    """Similarity and prompt."""
    found = _json(file, dict) if file.is_file() else {}
    similarity = found.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise UserError(f"{file} declares the similarity {similarity}: known are {', '.join(SIMILARITIES)}")
    prompts, chosen = found.get("prompts") or {}, found.get("default_prompt_name")
    if chosen is not None and chosen not in prompts:
        raise UserError(f"{file} declares the prompt {chosen}, but has none of that name")
    return {"similarity": similarity, "prompt": "" if chosen is None else str(prompts[chosen])}


def _reading(folder: Path) -> dict[str, Any]:
    """How long a text is read, and whether in lower case."""
    file = folder / "sentence_bert_config.json"
    found = _json(file, dict) if file.is_file() else {}
    length = found.get("max_seq_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
        raise UserError(f"{file}: max_seq_length {length!r} is no number of tokens")
    return {"length": length, "lower": bool(found.get("do_lower_case"))}


def _json(file: Path, kind: type) -> Any:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): get it anew") from error
    entries = found if isinstance(found, list) else [found]
    if not isinstance(found, kind) or not all(isinstance(entry, Mapping) for entry in entries):
        raise UserError(f"{file} is damaged (it holds no {kind.__name__}): get it anew")
    return found
