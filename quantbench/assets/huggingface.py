"""Folders of networks and data sets on the Hugging Face hub: from its cache, else downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

SECONDS = 5.0
"""How long the hub may stay silent before a download is given up."""

WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
OLD_WEIGHT_FILES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
CTRANSLATE2_FILES = ("model.bin",)
"""What is read, and nothing else: weights are known by these files."""

TEXT_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
)
EMBEDDING_FILES = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "*_Pooling/config.json",
)
"""What sentence-transformers writes beside a network: how its states become an embedding."""

TOKENIZER_FILES = ("tokenizer.json", "vocab*", "*.model")
"""A tokenizer needs one of these: without any, transformers makes one that knows no word."""


class Absent(Exception):
    """The hub's cache does not hold the files and they cannot be downloaded; the message says why, in a few words."""


def folder_of(hub: str, patterns: Sequence[str], holds: Callable[[Path], bool], kind: str = "model") -> Path:
    """The folder of the hub's cache with the files of the repository `hub` that `patterns` name.

    `kind` is model or dataset. What is there is taken without asking the hub where `holds(folder)`: other programs and
    downloads that broke off leave a part. Raises Absent.
    """
    from huggingface_hub import HfApi, snapshot_download

    kept = _kept(hub, patterns, kind)
    if kept is not None and holds(kept):
        return kept
    try:
        # Asked with a limit first: snapshot_download waits for its first answer as long as it takes.
        HfApi().repo_info(hub, repo_type=kind, timeout=SECONDS)
        return Path(snapshot_download(hub, repo_type=kind, allow_patterns=list(patterns), etag_timeout=SECONDS))
    except Exception as error:  # what a failed download raises depends on the version of the hub's client
        raise Absent(_reason(error)) from error


def network_folder(hub: str, weights: bool) -> Path:
    """The folder with configuration and tokenizer of a network, and with `weights` also these. Raises Absent."""
    if not weights:
        return folder_of(hub, (*TEXT_FILES, *EMBEDDING_FILES), _holds_text)
    old = (*TEXT_FILES, *EMBEDDING_FILES, *OLD_WEIGHT_FILES)
    kept = _kept(hub, old, "model")
    if kept is not None and _holds_text(kept) and _holds_weights(kept, OLD_WEIGHT_FILES):
        return kept
    folder = folder_of(
        hub,
        (*TEXT_FILES, *EMBEDDING_FILES, *WEIGHT_FILES),
        lambda found: _holds_text(found) and _holds_weights(found, WEIGHT_FILES),
    )
    return folder if weight_files(folder) else folder_of(hub, old, lambda _: False)


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold weights: those in safetensors format, where there are any."""
    return _files(folder, WEIGHT_FILES) or _files(folder, OLD_WEIGHT_FILES) or _files(folder, CTRANSLATE2_FILES)


def text_files(folder: Path) -> list[Path]:
    """The files of a folder that hold the configuration and the tokenizer."""
    return _files(folder, TEXT_FILES)


def embedding_files(folder: Path) -> list[Path]:
    """The files of a folder that say how an embedding is made."""
    return _files(folder, EMBEDDING_FILES)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return bool(_files(folder, TOKENIZER_FILES))


def _kept(hub: str, patterns: Sequence[str], kind: str) -> Path | None:
    """The folder of the hub's cache, whatever it holds; None if there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub, repo_type=kind, allow_patterns=list(patterns), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _holds_text(folder: Path) -> bool:
    return (folder / "config.json").is_file() and has_tokenizer(folder)


def _holds_weights(folder: Path, patterns: Sequence[str]) -> bool:
    """Whether weights are there, and all the parts that an index names."""
    files = _files(folder, patterns)
    try:
        indices = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".index.json")]
        return bool(files) and all(
            (folder / part).is_file() for index in indices for part in index["weight_map"].values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.split(" An error happened")[0].removeprefix("Got: ")[:150] or type(error).__name__
