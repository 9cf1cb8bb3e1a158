"""Train a Fashion-MNIST network of the desk suite and write its checkpoint with its training record.

    python scripts/train_fashion.py resnet20_fashion --epochs 16

55,000 of the 60,000 training photos are trained on, 5,000 are held out to watch progress. The weights of the last
epoch are kept, so nothing is selected; the test photos are read once, at the end. An interrupted training goes on
from its last epoch: the state lies in --state until the checkpoint is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from quantbench.networks.fashion import BUILDERS
from quantbench.tasks.fashion_mnist import load_split, normalize

WEIGHTS = Path(__file__).resolve().parents[1] / "quantbench" / "networks" / "weights"
HELD_OUT = 5_000


def main() -> None:
    """Parse the command line, train, evaluate, write."""
    options = _options()
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    images, labels = load_split("train")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(options.seed))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]
    module = BUILDERS[options.network]().to(options.device, memory_format=torch.channels_last)
    started = time.time()
    history = _fit(module, (images[kept], labels[kept]), (images[held], labels[held]), options)
    results = {
        "seconds_last_run": round(time.time() - started),
        "held_out_top1": history[-1]["held_out_top1"],
        "test_top1": _accuracy(module, *load_split("test"), options.device),
        "history": history,
    }
    _write(module, options, results)
    _state_file(options).unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=sorted(BUILDERS))
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="forward and backward in bfloat16 autocast")
    parser.add_argument("--state", type=Path, default=Path("build/training"), help="folder of the resumable state")
    return parser.parse_args()


def _state_file(options: argparse.Namespace) -> Path:
    return Path(options.state) / f"{options.network}.pt"


def _recipe(options: argparse.Namespace) -> dict[str, object]:
    """The options that decide the result; a state of another recipe is not gone on with."""
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed", "bf16")
    return {name: getattr(options, name) for name in names}


def _fit(
    module: nn.Module, train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], options: argparse.Namespace
) -> list[dict[str, float]]:
    steps = options.epochs * (len(train[0]) // options.batch_size)
    decayed = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=options.learning_rate, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, steps, pct_start=0.2)
    state_file = _state_file(options)
    history: list[dict[str, float]] = []
    if state_file.exists():
        state = torch.load(state_file, map_location=options.device, weights_only=True)
        if state["recipe"] != _recipe(options):
            sys.exit(f"{state_file} is of another training ({state['recipe']}): delete it, or repeat its options")
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history = state["history"]
    for epoch in range(len(history), options.epochs):
        began = time.time()
        loss = _epoch(module, train, optimizer, schedule, epoch, options)
        accuracy = _accuracy(module, *held, options.device)
        history.append({"loss": loss, "held_out_top1": accuracy})
        state_file.parent.mkdir(parents=True, exist_ok=True)
        state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "recipe": _recipe(options)}
        partial = state_file.with_suffix(".partial")
        torch.save({**state, "schedule": schedule.state_dict(), "history": history}, partial)
        partial.replace(state_file)
        seconds = time.time() - began
        print(
            f"epoch {epoch + 1}/{options.epochs}  loss {loss:.4f}  held-out {accuracy:.2f} %  {seconds:.0f} s",
            flush=True,
        )
    return history


def _epoch(
    module: nn.Module,
    train: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    epoch: int,
    options: argparse.Namespace,
) -> float:
    module.train()
    generator = torch.Generator().manual_seed(1_000 * options.seed + epoch)
    order = torch.randperm(len(train[0]), generator=generator)
    order = order[: len(order) // options.batch_size * options.batch_size]
    total = 0.0
    for batch in order.split(options.batch_size):
        photos = _augment(train[0][batch], generator)
        x = normalize(photos).to(options.device, memory_format=torch.channels_last)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
            logits = module(x)
        loss = F.cross_entropy(logits.float(), train[1][batch].to(options.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    return total / (len(order) // options.batch_size)


def _augment(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the photos, shift each by up to 2 pixels, blank a 6 x 6 square in half of them."""
    count, _, height, width = photos.shape
    mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    photos = torch.where(mirrored, photos.flip(3), photos)
    padded = F.pad(photos, (2, 2, 2, 2))
    top, left = torch.randint(0, 5, (2, count, 1, 1), generator=generator)
    rows = (top + torch.arange(height).view(1, -1, 1)).expand(-1, -1, width)
    columns = (left + torch.arange(width).view(1, 1, -1)).expand(-1, height, -1)
    photos = padded[torch.arange(count).view(-1, 1, 1), 0, rows, columns]
    y0, x0 = torch.randint(-3, 26, (2, count, 1, 1), generator=generator)
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    inside = (y >= y0) & (y < y0 + 6) & (x >= x0) & (x < x0 + 6)
    blanked = inside & (torch.rand(count, 1, 1, generator=generator) < 0.5)
    return photos.masked_fill(blanked, 0).unsqueeze(1)


@torch.no_grad()
def _accuracy(module: nn.Module, images: Tensor, labels: Tensor, device: str) -> float:
    """Top-1 accuracy in percent, in float32."""
    module.eval()
    correct = 0
    for photos, truth in zip(images.split(500), labels.split(500), strict=True):
        correct += int((module(normalize(photos).to(device)).argmax(1).cpu() == truth).sum())
    return 100.0 * correct / len(images)


def _write(module: nn.Module, options: argparse.Namespace, results: dict[str, object]) -> None:
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    checkpoint = WEIGHTS / f"{options.network}.safetensors"
    save_file({name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}, checkpoint)
    checkpoint.chmod(0o644)  # safetensors writes files that only their owner can read
    record = {
        "command": shlex.join(["python", "scripts/train_fashion.py", *sys.argv[1:]]),
        "network": options.network,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in module.parameters()),
        "data": "Fashion-MNIST: 55,000 training photos trained on, 5,000 held out, 10,000 test photos read once",
        **_recipe(options),
        "device": options.device,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "git": subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
        ).stdout.strip(),
        **results,
    }
    checkpoint.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"test {results['test_top1']:.2f} %  ->  {checkpoint}")


if __name__ == "__main__":
    main()
