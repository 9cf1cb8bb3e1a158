"""Folders of networks and data sets on the Hugging Face hub: from its cache, else downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SECONDS = 5.0
"""How long the hub may stay silent before a download is given up."""

WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
OLD_WEIGHT_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
TEXT_FILES = (
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
)


class Absent(Exception):
    """The hub's cache does not hold the files and they cannot be downloaded; the message says why, in a few words."""


def folder_of(hub: str, patterns: Sequence[str], kind: str = "model") -> Path:
    """The folder of the hub's cache with the files of the repository `hub` that `patterns` name.

    `kind` is model or dataset. What is there is taken without asking the hub. Raises Absent.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = list(patterns)
    try:
        try:
            kept = Path(snapshot_download(hub, repo_type=kind, allow_patterns=wanted, local_files_only=True))
            if any(path for pattern in wanted for path in kept.rglob(pattern)):
                return kept
        except LocalEntryNotFoundError:
            pass
        return Path(snapshot_download(hub, repo_type=kind, allow_patterns=wanted, etag_timeout=SECONDS))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise Absent(_reason(error)) from error


def network_folder(hub: str, weights: bool) -> Path:
    """The folder with configuration and tokenizer of a network, and with `weights` also these. Raises Absent."""
    folder = folder_of(hub, TEXT_FILES)
    if not weights or _holds(folder, WEIGHT_FILES) or _holds(folder, OLD_WEIGHT_FILES):
        return folder
    folder = folder_of(hub, (*TEXT_FILES, *WEIGHT_FILES))
    return folder if _holds(folder, WEIGHT_FILES) else folder_of(hub, (*TEXT_FILES, *OLD_WEIGHT_FILES))


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold weights: those in safetensors format, where there are any."""
    new, old = (
        [p for pattern in patterns for p in folder.glob(pattern)] for patterns in (WEIGHT_FILES, OLD_WEIGHT_FILES)
    )
    return sorted(new or old)


def _holds(folder: Path, patterns: Sequence[str]) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.split(" An error happened")[0].removeprefix("Got: ")[:150] or type(error).__name__
