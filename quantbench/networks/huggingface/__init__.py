"""Networks of the library transformers, from the hub, a folder, a registry package or with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.assets.content import content_sha256
from quantbench.assets.huggingface import embedding_files, text_files, weight_files
from quantbench.errors import UserError

if TYPE_CHECKING:
    from quantbench.networks.network import Network

TEXT_HEADS = ("question_answering", "sequence_classification", "embedding")
SPEECH_HEADS = ("speech_ctc", "speech_seq2seq")
"""What a network answers, of those that read text and of those that hear speech."""

_MAX_LENGTH, _STRIDE = 384, 128  # as BERT reads SQuAD


def load(
    *,
    name: str,
    head: str | None,
    weights: str = "hub",
    seed: int = 0,
    hub: str | None = None,
    path: str | None = None,
    asset: str | None = None,
    architecture: Mapping[str, Any] | None = None,
    classes: int | None = None,
    max_length: int = _MAX_LENGTH,
    stride: int = _STRIDE,
    pooling: str | None = None,
) -> Network:
    """A network of transformers with one of the heads.

    `weights` is `hub` (those of `hub`, by default `name`, or of the folder `path` that replaces it), `registry` (those
    of the `asset`), `shipped` (these, but for what quantbench carries itself), `random` (of `architecture`, else of the
    hub's configuration), or a file. `classes`, `max_length` and `stride` are for text alone: it is cut off at
    `max_length` tokens; a paragraph is cut into windows that start every `stride` tokens. `pooling`, for an embedding
    alone, replaces what the folder of the weights declares, which is the mean where it declares nothing. Raises
    UserError if the weights cannot be had or do not fit, or for a length or stride that the network cannot have.
    """
    if head not in (*TEXT_HEADS, *SPEECH_HEADS):
        raise UserError(f"model.head={head or 'null'}: must be one of {', '.join((*TEXT_HEADS, *SPEECH_HEADS))}")
    from quantbench.networks.huggingface import speech_ctc, text, whisper
    from quantbench.networks.huggingface.weights import Source

    source = Source(name, weights, seed, hub or name, path, asset, architecture, classes)
    if head in TEXT_HEADS:
        if pooling is not None and head != "embedding":
            raise UserError(f"model.pooling={pooling}: is for model.head=embedding alone")
        return text.load(source, head, max_length, stride, pooling)
    if (classes, max_length, stride, pooling) != (None, _MAX_LENGTH, _STRIDE, None):
        raise UserError(f"model.head={head}: classes, max_length, stride and pooling are for networks that read text")
    return speech_ctc.load(source) if head == "speech_ctc" else whisper.load(source)


def identity(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options; of a folder in the hub's place, which `path` is then, with the sha256 of its files that count."""
    place = options.get("path")
    if place is None and options.get("asset") is None:
        place = options.get("hub") or options.get("name")
    folder = Path(str(place)).expanduser()
    if place is None or not folder.is_dir():
        return dict(options)
    files = [
        *text_files(folder),
        *embedding_files(folder),
        *(weight_files(folder) if options.get("weights", "hub") == "hub" else []),
    ]
    return {**options, "path": str(folder.absolute()), **({"sha256": content_sha256(*files)} if files else {})}
