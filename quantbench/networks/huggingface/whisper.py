"""Whisper (Radford et al. 2022, arXiv 2212.04356): sound to text, decoded within the forward pass."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quantbench.errors import UserError
from quantbench.networks.audio import SAMPLE_RATE, sound_of
from quantbench.networks.huggingface.weights import (
    Source,
    build,
    is_ctranslate2,
    open_source,
    read_tokenizer,
    weights_identity,
)
from quantbench.networks.network import Item, Network

TOKENS, TOKENS_A_SECOND, MOST_TOKENS = 10, 10, 224
"""How long a text may get: fast speakers say five tokens a second. A network that never comes to an end is stopped."""

_NOISE_TOKENS = 100
_HOP = 160  # samples a frame
_MULTILINGUAL = 51_865
"""Words of the vocabulary from which on a Whisper is told the language and the task."""


@dataclass(frozen=True)
class Prompt:
    """What decoding starts with, the token that ends it, and the tokens never said: at all, and in the first place."""

    tokens: tuple[int, ...]
    end: int
    never: tuple[int, ...] = ()
    never_first: tuple[int, ...] = ()

    @property
    def version(self) -> str:
        """What tells the tokens that are never said from others."""
        said = repr((self.end, self.never, self.never_first)).encode()
        return f"{len(self.never)} never said ({hashlib.sha256(said).hexdigest()[:12]})"


def load(source: Source) -> Network:
    """The network of a source.

    Its outputs are the tokens of each piece of sound, their ids plus 1, float32 [n, length, 1], zeros behind the end.
    Raises UserError if the tokenizer cannot be read.
    """
    name, opened = source.name, open_source(source)
    config = opened.config
    if config.model_type != "whisper":
        raise UserError(
            f"{name}: of the networks with model.head=speech_seq2seq only Whisper is known, not {config.model_type}"
        )
    module = build(opened, "AutoModelForSpeechSeq2Seq")
    tokenizer = cache(partial(read_tokenizer, name, opened.tokenizer_folder, config.vocab_size))
    if source.weights == "random":
        prompt = Prompt((config.decoder_start_token_id,), config.eos_token_id)
    else:
        prompt = _prompt(tokenizer(), opened.tokenizer_folder(), config.vocab_size)
    most = min(MOST_TOKENS, config.max_target_positions - len(prompt.tokens))
    frames = 2 * config.max_source_positions
    _decode_with(module, prompt)
    hears = frames * _HOP
    extract = _extractor(config.num_mel_bins, hears)
    noise = partial(_noise, config.num_mel_bins, frames, min(most, _NOISE_TOKENS))
    return Network(
        name=name,
        module=module,
        preprocess=lambda raw: _pieces(extract, hears, most, sound_of(name, raw)),
        decode=lambda sound, outputs: _text(tokenizer(), prompt.end, outputs),
        example=tuple(tensor[None] for tensor in noise(0)),
        noise=noise,
        pad=(0.0, 0.0),
        weights=weights_identity(opened),
        preprocessing=f"{config.num_mel_bins} log-mel bands of pieces of {hears / SAMPLE_RATE:g} s, the last filled up "
        f"with silence; tokenizer {opened.tokenizer_version}; tokens: at most {TOKENS_A_SECOND} a second and {TOKENS}, "
        f"{most} in all, the prompt {prompt.tokens}, {prompt.version}",
        numbers=False,
    )


def greedy(network: Any, features: Tensor, most: Tensor, prompt: Prompt) -> Tensor:
    """The likeliest tokens, one by one, of a WhisperForConditionalGeneration: their ids plus 1, float32 [n, length, 1].

    `features` are [n, bands, frames], `most` integers [n, 1]: how many tokens there may be. The end itself is no
    token; zeros are behind it. A text that has ended leaves the batch, so that nothing is computed, or counted by
    observe, that another text's length decides. Where a logit is NaN or infinite the token is NaN, and the last.
    """
    from transformers import DynamicCache, EncoderDecoderCache

    # One by one: the scores of a layer's attention take 54 MB each, and a batch gains nothing.
    heard = torch.cat([network.model.encoder(one[None]).last_hidden_state for one in features])
    said: list[list[float]] = [[] for _ in features]
    limits = most.flatten().tolist()
    open_texts = list(range(len(features)))
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    kept = {_cache_argument(network.model.decoder): cache}
    tokens = torch.tensor([prompt.tokens] * len(features), device=features.device)
    while open_texts:
        hidden = network.model.decoder(
            input_ids=tokens, encoder_hidden_states=heard, use_cache=True, **kept
        ).last_hidden_state[:, -1]
        logits = network.proj_out(hidden)
        chosen = _likeliest(logits, prompt, first=not said[open_texts[0]])
        goes_on = []
        for row, (text, token) in enumerate(zip(open_texts, chosen.tolist(), strict=True)):
            if token != prompt.end:
                said[text].append(token + 1)
                if token == token and len(said[text]) < limits[text]:
                    goes_on.append(row)
        if len(goes_on) < len(open_texts):
            rows = torch.tensor(goes_on, dtype=torch.int64, device=features.device)
            open_texts, chosen, heard = [open_texts[row] for row in goes_on], chosen[rows], heard[rows]
            cache.batch_select_indices(rows)
        tokens = chosen[:, None].long()
    length = max(1, *map(len, said))
    padded = [[*text, *[0.0] * (length - len(text))] for text in said]
    return torch.tensor(padded, device=features.device)[..., None]


def _cache_argument(decoder: nn.Module) -> str:
    """What transformers calls a decoder's cache: `cache`, in older versions `past_key_values`."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"


def _likeliest(logits: Tensor, prompt: Prompt, first: bool) -> Tensor:
    """The token of the largest of the logits [n, vocabulary] that may be said, [n]; NaN where one is not finite."""
    finite = torch.isfinite(logits).all(-1)
    never = [*prompt.never, *(prompt.never_first if first else ())]
    chosen = logits.index_fill(-1, torch.tensor(never, dtype=torch.int64, device=logits.device), -torch.inf).argmax(-1)
    return torch.where(finite, chosen.float(), torch.nan)


def _decode_with(module: nn.Module, prompt: Prompt) -> None:
    """Let the module's forward decode; its layers keep their names."""
    original = type(module)

    class Transcribing(original):  # type: ignore[misc,valid-type]
        def forward(self, features: Tensor, most: Tensor) -> Tensor:
            return greedy(self, features, most, prompt)

    Transcribing.__name__ = original.__name__
    module.__class__ = Transcribing


def _extractor(bands: int, samples: int) -> Callable[[NDArray[np.float32]], Tensor]:
    """What makes log-mel features [bands, frames] of a piece of sound, as Whisper was trained on."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=bands)  # type: ignore[no-untyped-call]

    def extract(sound: NDArray[np.float32]) -> Tensor:
        found = extractor(sound, sampling_rate=SAMPLE_RATE, return_tensors="pt", max_length=samples)
        features: Tensor = found["input_features"][0]
        return features

    return extract


def _pieces(
    extract: Callable[[NDArray[np.float32]], Tensor], hears: int, most: int, sound: NDArray[np.float32]
) -> list[Item]:
    """The items of a sound: the features [bands, frames] of each piece, and how many tokens its text may have [1].

    Whisper hears `hears` samples at once (30 s): shorter sound is followed by silence, longer sound is cut into pieces.
    """
    items: list[Item] = []
    for start in range(0, len(sound), hears):
        piece = sound[start : start + hears]
        limit = min(most, TOKENS + TOKENS_A_SECOND * len(piece) // SAMPLE_RATE)
        items.append((extract(piece), torch.tensor([limit])))
    return items


def _text(tokenizer: Any, end: int, outputs: Tensor) -> str:
    """The text of the outputs [pieces, length, 1]. Tokens from the end's id on are no words but marks, as of time."""
    pieces = ([int(token) - 1 for token in row if 0 < token <= end] for row in outputs[..., 0].tolist())
    return " ".join(str(tokenizer.decode(piece)).strip() for piece in pieces)


def _noise(bands: int, frames: int, most: int, seed: int) -> Item:
    """Features that `seed` draws, and as many tokens as are said in 30 seconds."""
    features = torch.randn(bands, frames, generator=torch.Generator().manual_seed(seed))
    return features, torch.tensor([most])


def _prompt(tokenizer: Any, folder: Path, vocabulary: int) -> Prompt:
    """English, to be written down without marks of time. Raises UserError if the tokenizer is not Whisper's."""
    names = ["<|startoftranscript|>", "<|notimestamps|>"]
    if vocabulary >= _MULTILINGUAL:
        names[1:1] = ["<|en|>", "<|transcribe|>"]
    known = tokenizer.get_vocab()
    if absent := [name for name in (*names, "<|endoftext|>") if known.get(name, vocabulary) >= vocabulary]:
        raise UserError(f"the tokenizer in {folder} is not that of this Whisper: it lacks {absent[0]}")
    return Prompt(tuple(known[name] for name in names), known["<|endoftext|>"], *_never(folder, vocabulary))


def _never(folder: Path, vocabulary: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens that are never said: at all, and first."""
    if is_ctranslate2(folder):
        file, keys = folder / "config.json", ("suppress_ids", "suppress_ids_begin")
    else:
        file, keys = folder / "generation_config.json", ("suppress_tokens", "begin_suppress_tokens")
    if not file.is_file():
        raise UserError(f"there is no {file}, which says what tokens this Whisper never says: copy it there")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        never, first = (tuple(int(token) for token in found.get(key) or ()) for key in keys)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({error}); get it anew") from error
    if outside := [token for token in (*never, *first) if not 0 <= token < vocabulary]:
        raise UserError(f"{file} names the token {outside[0]}, but the network knows {vocabulary}: they do not fit")
    return never, first
