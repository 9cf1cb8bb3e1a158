"""Train jasper_mini on acted English speech and write its checkpoint with its training record.

    python scripts/train_speech.py --epochs 60 --threads 1
    python scripts/train_speech.py --epochs 60 --threads 1 --finish

The training clips are trained on with CTC; the held-out clips only show progress, and nothing is selected by them.
After every epoch the state is written to --state, from which an interrupted training goes on. --finish rounds the
weights of the last epoch to float16, reads the test clips once and writes the checkpoint; it may also end a training
early.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import scipy
import soundfile
import torch
import torch.nn.functional as F
from augment_speech import augmented
from safetensors.torch import save_file
from scipy.signal import resample_poly
from torch import Tensor, nn

from quantbench.networks.jasper.features import log_mel, normalize
from quantbench.networks.jasper.network import ARCHITECTURES, BLANK, LETTERS, Acoustic, greedy, steps
from quantbench.tasks.amazon_queen import clips as talkie

WEIGHTS = Path(__file__).resolve().parents[1] / "quantbench" / "networks" / "weights"
NAME = "jasper_mini"
SPEEDS = (9, 10, 11)  # tenths
EASY_EPOCHS = 3  # in which short clips come first
RECIPE = ("epochs", "frames", "learning_rate", "weight_decay", "seed", "bf16")


@dataclass(frozen=True)
class Utterance:
    """Log-mel features by speed, float16 [64, T], and the text."""

    bands: dict[int, Tensor]
    text: str


def main() -> None:
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    module = Acoustic(ARCHITECTURES[NAME]())
    state = _read_state(options)
    if state is not None:
        module.load_state_dict(state["module"])
    if options.finish:
        if state is None:
            sys.exit(f"{_state_file(options)} does not exist: train first")
        return _finish(module, state["history"], options)
    held_out = _utterances("held_out", (10,), options)
    _fit(module, _utterances("train", SPEEDS, options), held_out, state, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--frames", type=int, default=6_000, help="of 10 ms a batch, padding included")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="convolutions in bfloat16 autocast")
    parser.add_argument("--state", type=Path, default=Path("build/training"), help="folder of the resumable state")
    parser.add_argument("--finish", action="store_true", help="read the test and write the checkpoint")
    return parser.parse_args()


def _state_file(options: argparse.Namespace) -> Path:
    return Path(options.state) / f"{NAME}.pt"


def _recipe(options: argparse.Namespace) -> dict[str, object]:
    return {name: getattr(options, name) for name in RECIPE}


def _read_state(options: argparse.Namespace) -> dict[str, Any] | None:
    path = _state_file(options)
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    if state["recipe"] != _recipe(options):
        sys.exit(f"{path} is of another training ({state['recipe']}): delete it, or repeat its options")
    return state


def _save(path: Path, content: object) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def _utterances(part: str, speeds: tuple[int, ...], options: argparse.Namespace) -> list[Utterance]:
    """The clips of one part of the split; their features are computed once and kept in the state's folder."""
    clips = talkie.split(part)
    path = Path(options.state) / f"features_{part}.pt"
    if not path.exists():
        began = time.time()
        _save(path, [{speed: _at_speed(clip.sound(), speed) for speed in speeds} for clip in clips])
        print(f"features of the {part} clips  {time.time() - began:.0f} s", flush=True)
    kept = torch.load(path, weights_only=True)
    return [Utterance(bands, clip.text) for bands, clip in zip(kept, clips, strict=True)]


def _at_speed(sound: np.ndarray, tenths: int) -> Tensor:
    return log_mel(sound if tenths == 10 else resample_poly(sound, 10, tenths).astype(np.float32)).half()


def _fit(
    module: Acoustic,
    train: list[Utterance],
    held_out: list[Utterance],
    state: dict[str, Any] | None,
    options: argparse.Namespace,
) -> None:
    decayed = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98))
    history: list[dict[str, float]] = []
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    for epoch in range(len(history), options.epochs):
        began = time.time()
        loss = _epoch(module, train, optimizer, epoch, options)
        history.append({"loss": loss, **_error_rates(module, held_out, options.frames)})
        history[-1]["seconds"] = round(time.time() - began)
        _save(
            _state_file(options),
            {
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": history,
                "recipe": _recipe(options),
            },
        )
        print(f"epoch {epoch + 1}/{options.epochs}  {history[-1]}", flush=True)


def _epoch(
    module: Acoustic,
    train: list[Utterance],
    optimizer: torch.optim.Optimizer,
    epoch: int,
    options: argparse.Namespace,
) -> float:
    """One pass over the clips, each at one speed; gives the mean loss a letter."""
    module.train()
    draw = np.random.default_rng((options.seed, epoch))
    torch.manual_seed(1_000 * options.seed + epoch)  # of dropout
    chosen = [(utterance.bands[int(draw.choice(SPEEDS))], utterance.text) for utterance in train]
    batches = _batches([bands.shape[1] for bands, _ in chosen], options.frames, draw)
    if epoch >= EASY_EPOCHS:
        draw.shuffle(batches)
    total, letters = 0.0, 0
    for number, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _share(epoch + number / len(batches), options.epochs)
        inputs, lengths = _joined([augmented(chosen[i][0].float(), draw) for i in batch])
        texts = [chosen[i][1] for i in batch]
        loss = _loss(module, inputs, lengths, texts, options.bf16)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        letters += sum(map(len, texts))
        total += loss.item() * sum(map(len, texts))
        if number % 20 == 0:
            print(f"  {epoch + 1}: {number}/{len(batches)}  loss {loss.item():.3f}", flush=True)
    return total / letters


def _share(epochs: float, of: int) -> float:
    """The part of the highest learning rate: up for two epochs, then down along a cosine to nothing."""
    warm = 2.0
    return (
        min(1.0, (epochs + 0.02) / warm) * 0.5 * (1 + math.cos(math.pi * max(0.0, epochs - warm) / max(1, of - warm)))
    )


def _batches(lengths: list[int], frames: int, draw: np.random.Generator) -> list[list[int]]:
    """Batches of clips of similar length, in the order of their lengths, each of at most so many frames."""
    order = np.argsort([length * draw.uniform(0.9, 1.1) for length in lengths])
    batches: list[list[int]] = [[]]
    longest = 0
    for i in order:
        longest = max(longest, lengths[i])
        if batches[-1] and longest * (len(batches[-1]) + 1) > frames:
            batches.append([])
            longest = lengths[i]
        batches[-1].append(int(i))
    return batches


def _joined(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Features of several lengths as one batch [n, 64, T] with their lengths [n]."""
    longest = max(tensor.shape[1] for tensor in features)
    batch = torch.stack([F.pad(tensor, (0, longest - tensor.shape[1])) for tensor in features])
    return batch, torch.tensor([tensor.shape[1] for tensor in features])


def _loss(module: Acoustic, inputs: Tensor, lengths: Tensor, texts: list[str], bf16: bool) -> Tensor:
    """CTC loss a letter."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = module(inputs, lengths)
    symbols = torch.tensor([LETTERS.index(letter) for text in texts for letter in text])
    sizes = torch.tensor([len(text) for text in texts])
    likely = F.log_softmax(logits.float(), -1).transpose(0, 1)
    total = F.ctc_loss(
        likely, symbols, steps(lengths, module.stride), sizes, BLANK, reduction="sum", zero_infinity=True
    )
    return total / len(symbols)


@torch.inference_mode()
def _error_rates(module: Acoustic, utterances: list[Utterance], frames: int) -> dict[str, float]:
    """Character and word error rates in percent, over all clips, in float32; and what was heard of the first."""
    module.eval()
    heard = [""] * len(utterances)
    lengths = [utterance.bands[10].shape[1] for utterance in utterances]
    for batch in _batches(lengths, frames, np.random.default_rng(0)):
        inputs, sizes = _joined([normalize(utterances[i].bands[10].float()) for i in batch])
        for i, logits in zip(batch, module(inputs, sizes), strict=True):
            heard[i] = greedy(logits)
    said = [utterance.text for utterance in utterances]
    for i in range(0, len(said), len(said) // 3):
        print(f"    {said[i]!r} -> {heard[i]!r}", flush=True)
    return {"cer": round(100 * jiwer.cer(said, heard), 2), "wer": round(100 * jiwer.wer(said, heard), 2)}


def _finish(module: Acoustic, history: list[dict[str, float]], options: argparse.Namespace) -> None:
    rounded = {key: tensor.half() if tensor.ndim > 1 else tensor for key, tensor in module.state_dict().items()}
    module.load_state_dict(rounded)
    results = {
        "epochs_done": len(history),
        "held_out": _error_rates(module, _utterances("held_out", (10,), options), options.frames),
        "test": _error_rates(module, _utterances("test", (10,), options), options.frames),
        "history": history,
    }
    checkpoint = WEIGHTS / f"{NAME}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in rounded.items()}, checkpoint)
    checkpoint.chmod(0o644)  # safetensors writes files that only their owner can read
    record = {
        "command": shlex.join(["python", "scripts/train_speech.py", *sys.argv[1:]]),
        "network": NAME,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in module.parameters()),
        "data": "Flight of the Amazon Queen, split.txt: training clips trained on, test clips read once",
        "clips": {part: len(talkie.split(part)) for part in talkie.SPLITS},
        **_recipe(options),
        "versions": {m.__name__: m.__version__ for m in (torch, scipy, soundfile)},
        "git": subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
        ).stdout.strip(),
        **results,
    }
    checkpoint.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"test {results['test']}  ->  {checkpoint}")


if __name__ == "__main__":
    main()
