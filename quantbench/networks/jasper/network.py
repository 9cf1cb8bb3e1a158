"""Jasper (Li et al. 2019, arXiv 1904.03288) and QuartzNet (Kriman et al. 2019, arXiv 1910.10261), speech to letters.

Both are stacks of 1-D convolutions over time, trained with CTC. A batch holds utterances of different lengths: before
every convolution, what lies behind the end of an utterance is set to zero, so an utterance gives the same letters in
whatever batch it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from quantbench.errors import UserError
from quantbench.networks.audio import sound_of
from quantbench.networks.checkpoint import load_into, restore
from quantbench.networks.jasper.checkpoint import read
from quantbench.networks.jasper.features import BANDS, PLAIN, Hearing, features
from quantbench.networks.network import Item, Network
from quantbench.networks.random_weights import seeded
from quantbench.networks.shipped import shipped

LETTERS = " abcdefghijklmnopqrstuvwxyz'"
BLANK = len(LETTERS)
"""The index of CTC's blank, which comes last."""

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """One block: `repeat` times convolution, batch normalization, ReLU and dropout.

    `residual` is `dense` (from the inputs of all dense blocks so far), `plain` (from its own input) or None. Only a
    stage without it and of one convolution has a stride.
    """

    channels: int
    kernel: int
    repeat: int = 1
    stride: int = 1
    dilation: int = 1
    dropout: float = 0.0
    separable: bool = False
    residual: str | None = None


def _jasper() -> list[Stage]:
    """Table 1 of the paper with the dense residuals of section 2.2: 333 M parameters."""
    blocks = [(256, 11, 0.2), (384, 13, 0.2), (512, 17, 0.2), (640, 21, 0.3), (768, 25, 0.3)]
    return [
        Stage(256, 11, stride=2, dropout=0.2),
        *(Stage(c, k, repeat=5, dropout=p, residual="dense") for c, k, p in blocks for _ in range(2)),
        Stage(896, 29, dilation=2, dropout=0.4),
        Stage(1024, 1, dropout=0.4),
    ]


def _quartznet() -> list[Stage]:
    """Table 1 of the paper: 18.9 M parameters."""
    blocks = [(256, 33), (256, 39), (512, 51), (512, 63), (512, 75)]
    return [
        Stage(256, 33, stride=2, separable=True),
        *(Stage(c, k, repeat=5, separable=True, residual="plain") for c, k in blocks for _ in range(3)),
        Stage(512, 87, dilation=2, separable=True),
        Stage(1024, 1),
    ]


def _mini() -> list[Stage]:
    """Jasper small enough for a few hours of speech: 4 M parameters, 30 ms a step."""
    return [
        Stage(192, 11, stride=3, dropout=0.1),
        *(Stage(192, k, repeat=3, dropout=0.15, residual="dense") for k in (9, 9, 11)),
        Stage(256, 13, dilation=2, dropout=0.2),
        Stage(256, 1, dropout=0.2),
    ]


ARCHITECTURES = {"jasper": _jasper, "quartznet15x5": _quartznet, "jasper_mini": _mini}

_EXAMPLE_FRAMES = 1000  # 10 s


def load(*, name: str, weights: str | None = "shipped", seed: int = 0, arch: str | None = None) -> Network:
    """One of the ARCHITECTURES (`arch`, by default `name`) with `shipped` or `random` weights or those of a file.

    The file may be one of NVIDIA's (see `jasper.checkpoint`). A sample is mono sound at 16 kHz, float32 [samples]; the
    answer to it is a text. Raises UserError if there is no such network or the weights cannot be used.
    """
    arch = arch or name
    if arch not in ARCHITECTURES:
        raise UserError(f"no network {arch!r} in the family jasper: there are {', '.join(ARCHITECTURES)}")
    if weights is None:
        raise UserError(f"no weights of {name} can be fetched: give model.weights=FILE or model.weights=random")
    module = seeded(lambda: Acoustic(ARCHITECTURES[arch]()), seed)
    identity, hearing = _restore(module, weights, seed, arch)
    return Network(
        name=name,
        module=module,
        preprocess=lambda raw: [_item(features(sound_of(name, raw), hearing))],
        example=tuple(tensor[None] for tensor in _item(torch.zeros(BANDS, _EXAMPLE_FRAMES))),
        weights=identity,
        preprocessing=str(hearing),
        pad=(0.0, 0.0),
        decode=lambda sound, outputs: greedy(outputs[0]),
        noise=_noise,
    )


def _restore(module: Acoustic, weights: str, seed: int, arch: str) -> tuple[str, Hearing]:
    """Put the weights into the module; gives what identifies them and what a network with them hears."""
    path = Path(weights).expanduser()
    if weights in ("random", "shipped") or not path.is_file():
        return restore(module, weights, seed=seed, known_as="shipped", checkpoint=lambda: shipped(arch)), PLAIN
    file = read(path, ARCHITECTURES[arch](), LETTERS)
    load_into(module.eval(), file.state, path)
    return f"sha256:{file.sha256}", file.hearing


def _item(bands: Tensor) -> Item:
    """The arguments of a forward pass: features [64, T] and how many frames they have [1]."""
    return bands, torch.tensor([bands.shape[-1]])


def _noise(seed: int) -> Item:
    """Features of ten seconds of nothing, drawn by `seed`."""
    return _item(torch.randn(BANDS, _EXAMPLE_FRAMES, generator=torch.Generator().manual_seed(seed)))


class Acoustic(nn.Module):
    """Features to letters: a stack of stages and a convolution to the symbols."""

    def __init__(self, stages: Sequence[Stage], symbols: int = BLANK + 1) -> None:
        """Build the layers with random weights."""
        super().__init__()
        self.stride = 1
        self.blocks = nn.ModuleList()
        channels = [BANDS]
        for stage in stages:
            self.blocks.append(_Block(channels, stage))
            channels = [*channels, stage.channels] if stage.residual == "dense" else [stage.channels]
            self.stride *= stage.stride
        self.head = nn.Conv1d(channels[-1], symbols, 1)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [n, T', symbols] of features [n, 64, T]; zeros behind the end of an utterance.

        `lengths` are the frames of every utterance, integers [n] or [n, 1]; None where all are T.
        """
        if lengths is None:
            lengths = torch.full((len(features),), features.shape[-1], device=features.device)
        lengths = lengths.reshape(-1)
        outputs = [features]
        for block in self.blocks:
            result, lengths = block(outputs, lengths)
            outputs = [*outputs, result] if block.residual == "dense" else [result]
        logits: Tensor = self.head(_masked(outputs[-1], lengths))
        return _masked(logits, lengths).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, channels: Sequence[int], stage: Stage) -> None:
        super().__init__()
        self.residual = stage.residual
        widths = [channels[-1]] + [stage.channels] * (stage.repeat - 1)
        self.convolutions = nn.ModuleList(_convolution(width, stage) for width in widths)
        self.norms = nn.ModuleList(_norm(stage.channels) for _ in widths)
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(source, stage.channels, 1, bias=False), _norm(stage.channels))
            for source in self._sources(channels)
        )
        self.activation = nn.Sequential(nn.ReLU(), nn.Dropout(stage.dropout))

    def forward(self, inputs: list[Tensor], lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs [n, C, T'] and lengths that follow from the outputs of the blocks before, the last the input."""
        x = inputs[-1]
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1):
            for layer in cast("list[nn.Conv1d]", convolution):
                x = layer(_masked(x, lengths))
                lengths = steps(lengths, layer.stride[0])
            x = norm(x)
            if i == len(self.convolutions):
                for shortcut, source in zip(self.shortcuts, self._sources(inputs), strict=True):
                    x = x + shortcut(_masked(source, lengths))
            x = self.activation(x)
        return x, lengths

    def _sources(self, before: Sequence[T]) -> Sequence[T]:
        """What the residual connections begin at."""
        return {"dense": before, "plain": before[-1:], None: ()}[self.residual]


def steps(frames: Tensor, stride: int) -> Tensor:
    """How many outputs a convolution with that stride has, its padding half of its kernel."""
    return torch.div(frames - 1, stride, rounding_mode="floor") + 1


def greedy(logits: Tensor) -> str:
    """The likeliest symbol of every step [T, symbols], repeats merged, blanks left out; steps of zeros do not count."""
    best = logits[logits.any(-1)].argmax(-1).tolist()
    merged = [symbol for i, symbol in enumerate(best) if i == 0 or symbol != best[i - 1]]
    return " ".join("".join(LETTERS[symbol] for symbol in merged if symbol != BLANK).split())


def _convolution(width: int, stage: Stage) -> nn.Sequential:
    inner = width if stage.separable else stage.channels
    layers = nn.Sequential(
        nn.Conv1d(
            width,
            inner,
            stage.kernel,
            stride=stage.stride,
            padding=stage.dilation * (stage.kernel // 2),
            dilation=stage.dilation,
            groups=width if stage.separable else 1,
            bias=False,
        )
    )
    if stage.separable:
        layers.append(nn.Conv1d(width, stage.channels, 1, bias=False))
    return layers


def _norm(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=1e-3)


def _masked(x: Tensor, lengths: Tensor) -> Tensor:
    """[n, C, T] with zeros behind the length of each."""
    inside = torch.arange(x.shape[-1], device=x.device) < lengths[:, None]
    return x * inside[:, None].to(x.dtype)
