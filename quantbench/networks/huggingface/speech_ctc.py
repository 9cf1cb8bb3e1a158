"""Networks of transformers that spell what they hear: wav2vec 2.0, HuBERT.

A raw sample is mono sound at 16 kHz, float32 [samples]; the network gives logits of letters at every step; the answer
to a sample is a text.
"""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from torch.nn.utils.rnn import pad_sequence

from quantbench.errors import UserError
from quantbench.networks.audio import SAMPLE_RATE, sound_of
from quantbench.networks.huggingface.weights import Opened, Source, build, open_source, read_tokenizer, weights_identity
from quantbench.networks.network import Item, Network

_NOISE_SECONDS = 5


def load(source: Source) -> Network:
    """The network of a source, which gives logits float32 [n, steps, letters], zeros behind the end."""
    name, opened = source.name, open_source(source)
    # Masks of training, whose embedding many checkpoints lack.
    opened.config.update({"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0})
    module = build(opened, "AutoModelForCTC")
    _settle_weights(module)
    masked = getattr(opened.config, "feat_extract_norm", "layer") == "layer"
    _spell_with(module, masked)
    normalized = _is_normalized(opened)
    tokenizer = cache(partial(read_tokenizer, name, opened.tokenizer_folder, opened.config.vocab_size, fast=False))
    noise = partial(_noise, _NOISE_SECONDS * SAMPLE_RATE)
    return Network(
        name=name,
        module=module,
        preprocess=partial(_hear, name, module, normalized),
        decode=lambda sound, outputs: _spelled(tokenizer(), outputs[0]),
        example=tuple(tensor[None] for tensor in noise(0)),
        noise=noise,
        pad=(0.0, 0.0),
        weights=weights_identity(opened),
        preprocessing=f"16 kHz{', mean 0 and variance 1' * normalized}; tokenizer {opened.tokenizer_version}",
    )


def _spell_with(module: nn.Module, masked: bool) -> None:
    """Let the module take sound [n, samples] and its lengths [n, 1] by position; its layers keep their names.

    Networks with layer normalization in their feature extractor were trained with a mask over what only fills up a
    batch. Those with group normalization, such as wav2vec 2.0 base, take the mean over all time and know no mask: they
    hear one sound after the other, so that none depends on its neighbours.
    """
    original = type(module)

    class Spelling(original):  # type: ignore[misc,valid-type]
        def forward(self, sound: Tensor, samples: Tensor) -> Tensor:
            counts = samples.flatten()
            steps = self._get_feat_extract_output_lengths(counts)
            if masked:
                inside = torch.arange(sound.shape[-1], device=sound.device) < counts[:, None]
                logits = original.forward(self, sound, attention_mask=inside.long()).logits
            else:
                each = zip(sound, counts.tolist(), strict=True)
                alone = [original.forward(self, one[None, :count]).logits[0] for one, count in each]
                logits = pad_sequence(alone, batch_first=True)
            within = torch.arange(logits.shape[1], device=sound.device) < steps[:, None]
            spelled: Tensor = logits * within[..., None]
            return spelled

    Spelling.__name__ = original.__name__
    module.__class__ = Spelling


def _settle_weights(module: nn.Module) -> None:
    """Make plain parameters of weights that are computed anew in every pass, as by weight normalization."""
    for part in module.modules():
        if is_parametrized(part, "weight"):
            remove_parametrizations(part, "weight")


def _hear(name: str, module: Any, normalized: bool, raw: Any) -> list[Item]:
    """The item of a sound: samples [samples], and how many they are [1]."""
    sound = sound_of(name, raw)
    if int(module._get_feat_extract_output_lengths(len(sound))) < 1:
        raise UserError(f"{name} cannot hear a sound of {len(sound)} samples: it is shorter than one step")
    if normalized:
        sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)  # as Wav2Vec2FeatureExtractor
    return [_item(torch.from_numpy(np.ascontiguousarray(sound, np.float32)))]


def _item(sound: Tensor) -> Item:
    return sound, torch.tensor([len(sound)])


def _noise(samples: int, seed: int) -> Item:
    """White noise that `seed` draws."""
    return _item(torch.randn(samples, generator=torch.Generator().manual_seed(seed)))


def _spelled(tokenizer: Any, logits: Tensor) -> str:
    """The likeliest letter of every step [steps, letters], repeats merged, blanks left out; zeros are no steps."""
    return str(tokenizer.decode(logits[logits.any(-1)].argmax(-1).tolist()))


def _is_normalized(opened: Opened) -> bool:
    """Whether the network was trained on sound of mean 0 and variance 1: what preprocessor_config.json says, if any."""
    file = None if opened.folder is None else opened.folder / "preprocessor_config.json"
    if file is None or not file.is_file():
        return True
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        rate, normalized = settings.get("sampling_rate", SAMPLE_RATE), settings.get("do_normalize", True)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({error}); get it anew") from error
    if rate != SAMPLE_RATE:
        raise UserError(f"{file}: the network hears sound at {rate} Hz, the tasks have it at {SAMPLE_RATE}")
    return bool(normalized)
