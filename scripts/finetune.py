"""Fine-tunes the upper layers of MiniLM-L6 to classify sentences, for train_trec.py and train_sentiment.py.

Only what differs from the package's weights is trained and written: the last layers, the pooler and the classifier,
in float16, to which the trained weights are rounded before they are judged. The lower layers never change, so their
outputs are computed once. Hyper-parameters were chosen on held-out training sentences; the test is read once, at the
end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.masking_utils import create_bidirectional_mask

from quantbench.assets import fetch

WEIGHTS = Path(__file__).resolve().parents[1] / "quantbench" / "networks" / "weights"
MAX_LENGTH = 128  # tokens


@dataclass(frozen=True)
class Data:
    """Sentences with their class indices: to train on, to choose by, and to judge once."""

    train: Sequence[tuple[str, int]]
    held_out: Sequence[tuple[str, int]]
    test: Sequence[tuple[str, int]]
    described: str


def options(description: str | None, **defaults: float) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=int(defaults["epochs"]))
    parser.add_argument("--learning-rate", type=float, default=defaults["learning_rate"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--layers", type=int, default=2, help="how many of the last layers are trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--choose", action="store_true", help="only show the held-out accuracy; the test is not read")
    return parser.parse_args()


def train(name: str, script: str, classes: int, data: Data, chosen: argparse.Namespace) -> None:
    """Fine-tune, judge, and write `quantbench/networks/weights/NAME.safetensors` with its training record."""
    torch.manual_seed(chosen.seed)
    folder = fetch("minilm")
    module = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes).to(chosen.device)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lower = len(module.bert.encoder.layer) - chosen.layers
    started = time.time()
    inputs, targets = _lower_outputs(module, tokenizer, data.train, lower, chosen.device)
    held_out = _lower_outputs(module, tokenizer, data.held_out, lower, chosen.device)
    history = []
    for epoch, loss in enumerate(_epochs(module, inputs, targets, lower, chosen)):
        history.append({"loss": loss, "held_out_accuracy": _accuracy(module, *held_out, lower)})
        print(f"epoch {epoch + 1}/{chosen.epochs}  {history[-1]}  {time.time() - started:.0f} s", flush=True)
    if chosen.choose:
        return
    changed = {key: t.half().cpu() for key, t in module.state_dict().items() if not torch.equal(t, before[key])}
    module.load_state_dict({key: tensor.float() for key, tensor in changed.items()}, strict=False)
    test = _lower_outputs(module, tokenizer, data.test, lower, chosen.device)
    results = {"seconds": round(time.time() - started), "test_accuracy": _accuracy(module, *test, lower)}
    _write(name, script, changed, data, chosen, {**results, "history": history})


@torch.no_grad()
def _lower_outputs(
    module: nn.Module, tokenizer: object, sentences: Sequence[tuple[str, int]], lower: int, device: str
) -> tuple[list[Tensor], Tensor]:
    """What the layers that stay make of every sentence, float32 [tokens, hidden], and the classes, int64 [n]."""
    module.eval()
    outputs = []
    for text, _ in sentences:
        ids = tokenizer(text, truncation=True, max_length=MAX_LENGTH, return_tensors="pt").to(device)  # type: ignore[operator]
        outputs.append(module.bert(**ids, output_hidden_states=True).hidden_states[lower][0])
    return outputs, torch.tensor([target for _, target in sentences], device=device)


def _epochs(module: nn.Module, inputs: list[Tensor], targets: Tensor, lower: int, chosen: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Train one epoch after the other; yields the mean loss of each."""
    trained = [*module.bert.encoder.layer[lower:].parameters(), *module.bert.pooler.parameters()]
    trained += module.classifier.parameters()
    optimizer = torch.optim.AdamW(trained, lr=chosen.learning_rate, weight_decay=chosen.weight_decay)
    steps = chosen.epochs * -(-len(inputs) // chosen.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, chosen.learning_rate, steps, pct_start=0.1)
    for epoch in range(chosen.epochs):
        module.train()
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1_000 * chosen.seed + epoch))
        total = 0.0
        batches = order.split(chosen.batch_size)
        for batch in batches:
            logits = _upper(module, [inputs[i] for i in batch], lower)
            loss = F.cross_entropy(logits, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        yield total / len(batches)


def _upper(module: nn.Module, outputs: list[Tensor], lower: int) -> Tensor:
    """The layers that are trained, and the head: logits [n, classes]."""
    hidden = pad_sequence(outputs, batch_first=True)
    lengths = torch.tensor([len(output) for output in outputs], device=hidden.device)
    mask = (torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]).long()
    bias = create_bidirectional_mask(config=module.config, inputs_embeds=hidden, attention_mask=mask)
    for layer in module.bert.encoder.layer[lower:]:
        out = layer(hidden, bias)
        hidden = out[0] if isinstance(out, tuple) else out
    return module.classifier(module.dropout(module.bert.pooler(hidden)))  # type: ignore[no-any-return]


@torch.no_grad()
def _accuracy(module: nn.Module, inputs: list[Tensor], targets: Tensor, lower: int) -> float:
    """Accuracy in percent."""
    module.eval()
    right = 0
    for start in range(0, len(inputs), 64):
        predicted = _upper(module, inputs[start : start + 64], lower).argmax(1)
        right += int((predicted == targets[start : start + 64]).sum())
    return 100.0 * right / len(inputs)


def _write(
    name: str,
    script: str,
    changed: dict[str, Tensor],
    data: Data,
    chosen: argparse.Namespace,
    results: dict[str, object],
) -> None:
    checkpoint = WEIGHTS / f"{name}.safetensors"
    save_file(changed, checkpoint)
    checkpoint.chmod(0o644)  # safetensors writes files that only their owner can read
    recipe = ("epochs", "learning_rate", "batch_size", "weight_decay", "layers", "seed")
    record = {
        "command": shlex.join(["python", f"scripts/{script}", *sys.argv[1:]]),
        "network": name,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "parameters": sum(tensor.numel() for tensor in changed.values()),
        "base": "the asset minilm; only what differs from it is in the file, in float16",
        "data": data.described,
        **{key: getattr(chosen, key) for key in recipe},
        "device": chosen.device,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "git": subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
        ).stdout.strip(),
        **results,
    }
    checkpoint.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"test {results['test_accuracy']:.2f} %  ->  {checkpoint}, {checkpoint.stat().st_size / 1e6:.1f} MB")
