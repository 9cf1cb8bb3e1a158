"""Whisper in CTranslate2's format, as faster-whisper and others publish it, put into the network of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quantbench.errors import UserError
from quantbench.networks.huggingface.ctranslate2 import read

FILE = "model.bin"
_SPECIFICATION = "WhisperSpec"

# What the file says beside weights, with the value that transformers' Whisper has; None where any value will do.
_GELU = 3
_SETTINGS = {
    "decoder/activation": _GELU,
    "decoder/alibi": 0,
    "decoder/alignment_heads": None,
    "decoder/alignment_layer": None,
    "decoder/num_heads": None,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
    "encoder/num_heads": None,
}
_NORM = {"gamma": "weight", "beta": "bias"}
_SAME = {"weight": "weight", "bias": "bias"}


class WhisperFile:
    """The tensors of a file by CTranslate2's names; each is handed out once, so that none is forgotten."""

    def __init__(self, folder: Path) -> None:
        """Read the file of a folder. Raises UserError if it is no Whisper, damaged, or quantized already."""
        self.path = folder / FILE
        model = read(self.path)
        if model.specification != _SPECIFICATION:
            raise UserError(f"{self.path} holds a {model.specification or 'nameless network'}, not a Whisper")
        self._left = model.variables
        for name, expected in _SETTINGS.items():
            found = self._left.get(name)
            if found is not None and expected is not None and found.flatten().tolist() != [expected]:
                raise UserError(f"{self.path} is a Whisper of another kind: {name} is {found.tolist()}, not {expected}")

    def config(self) -> Any:
        """The configuration that transformers has of the network; the shapes of the tensors say all of it."""
        from transformers import WhisperConfig

        vocabulary, width = self._matrix("decoder/embeddings/weight")
        halves: dict[str, Any] = {
            f"{half}_{key}": value
            for half in ("encoder", "decoder")
            for key, value in {
                "layers": self._layers(half),
                "attention_heads": self._heads(half),
                "ffn_dim": self._matrix(f"{half}/layer_0/ffn/linear_0/weight")[0],
            }.items()
        }
        return WhisperConfig(
            vocab_size=vocabulary,
            d_model=width,
            num_mel_bins=self._shape("encoder/conv1/weight", 3)[1],
            max_source_positions=self._matrix("encoder/position_encodings/encodings")[0],
            max_target_positions=self._matrix("decoder/position_encodings/encodings")[0],
            pad_token_id=None,
            **halves,
        )

    def state(self) -> dict[str, Tensor]:
        """The state dict of transformers' WhisperForConditionalGeneration, float32. Raises UserError if it lacks one.

        It can be asked for once.
        """
        state = dict(self._named())
        if forgotten := [name for name in self._left if name not in _SETTINGS]:
            raise UserError(f"{self.path} holds {len(forgotten)} tensors that no Whisper has ({forgotten[0]}, ...)")
        return state

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        layers = {half: self._layers(half) for half in ("encoder", "decoder")}
        for conv in ("conv1", "conv2"):
            yield from self._copied(f"encoder/{conv}", f"model.encoder.{conv}", _SAME)
        for half in ("encoder", "decoder"):
            yield f"model.{half}.embed_positions.weight", self._take(f"{half}/position_encodings/encodings")
            yield from self._copied(f"{half}/layer_norm", f"model.{half}.layer_norm", _NORM)
            for i in range(layers[half]):
                yield from self._layer(f"{half}/layer_{i}", f"model.{half}.layers.{i}", half == "decoder")
        yield "model.decoder.embed_tokens.weight", self._take("decoder/embeddings/weight")
        yield "proj_out.weight", self._take("decoder/projection/weight")

    def _layer(self, theirs: str, ours: str, decoder: bool) -> Iterator[tuple[str, Tensor]]:
        yield from self._copied(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm", _NORM)
        yield from self._stacked(f"{theirs}/self_attention/linear_0", f"{ours}.self_attn", "qkv")
        yield from self._copied(f"{theirs}/self_attention/linear_1", f"{ours}.self_attn.out_proj", _SAME)
        if decoder:
            yield from self._copied(f"{theirs}/attention/layer_norm", f"{ours}.encoder_attn_layer_norm", _NORM)
            yield from self._copied(f"{theirs}/attention/linear_0", f"{ours}.encoder_attn.q_proj", _SAME)
            yield from self._stacked(f"{theirs}/attention/linear_1", f"{ours}.encoder_attn", "kv")
            yield from self._copied(f"{theirs}/attention/linear_2", f"{ours}.encoder_attn.out_proj", _SAME)
        yield from self._copied(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm", _NORM)
        yield from self._copied(f"{theirs}/ffn/linear_0", f"{ours}.fc1", _SAME)
        yield from self._copied(f"{theirs}/ffn/linear_1", f"{ours}.fc2", _SAME)

    def _copied(self, theirs: str, ours: str, names: dict[str, str]) -> Iterator[tuple[str, Tensor]]:
        for name, own in names.items():
            yield f"{ours}.{own}", self._take(f"{theirs}/{name}")

    def _stacked(self, theirs: str, ours: str, parts: str) -> Iterator[tuple[str, Tensor]]:
        """Linear layers one behind the other in one matrix. The keys of Whisper have no bias: here it is zeros."""
        weight, bias = self._take(f"{theirs}/weight"), self._take(f"{theirs}/bias")
        if len(weight) % len(parts) or len(bias) != len(weight):
            raise UserError(
                f"{self.path}: {theirs} of shape {tuple(weight.shape)} cannot be cut into {', '.join(parts)}"
            )
        for part, rows, offset in zip(parts, weight.chunk(len(parts)), bias.chunk(len(parts)), strict=True):
            yield f"{ours}.{part}_proj.weight", rows
            if part != "k":
                yield f"{ours}.{part}_proj.bias", offset
            elif offset.any():
                raise UserError(f"{self.path}: {theirs} has a bias of the keys, which Whisper has not")

    def _take(self, name: str) -> Tensor:
        self._shape(name)
        tensor = self._left.pop(name)
        if not tensor.is_floating_point():
            raise UserError(f"{self.path} is quantized already: {name} is {tensor.dtype}; get its float16 version")
        return tensor.to(torch.float32)

    def _shape(self, name: str, rank: int | None = None) -> tuple[int, ...]:
        if name not in self._left:
            raise UserError(f"{self.path} lacks {name}: it is no Whisper, or damaged")
        shape = tuple(self._left[name].shape)
        if rank is not None and (len(shape) != rank or 0 in shape):
            raise UserError(f"{self.path}: {name} has the shape {shape}, not one of {rank} dimensions")
        return shape

    def _matrix(self, name: str) -> tuple[int, ...]:
        return self._shape(name, 2)

    def _layers(self, half: str) -> int:
        """How many layers there are: those from 0 on without a gap; one behind a gap is found to be left over."""
        count = 0
        while f"{half}/layer_{count}/ffn/linear_0/weight" in self._left:
            count += 1
        return count

    def _heads(self, half: str) -> int:
        name = f"{half}/num_heads"
        self._shape(name)
        heads, width = self._left[name].flatten().tolist(), self._matrix("decoder/embeddings/weight")[1]
        if len(heads) != 1 or heads[0] < 1 or width % int(heads[0]):
            raise UserError(f"{self.path}: {name} is {heads}, which {width} channels cannot be shared between")
        return int(heads[0])
