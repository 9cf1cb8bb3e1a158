"""Where the weights, the configuration and the tokenizer of a network of transformers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quantbench.assets import fetch
from quantbench.assets.content import content_sha256
from quantbench.assets.huggingface import Absent, has_tokenizer, network_folder, text_files, weight_files
from quantbench.errors import UserError, in_one_line
from quantbench.networks.checkpoint import check_finite, load_into, read, restore
from quantbench.networks.huggingface.whisper_ctranslate2 import FILE, WhisperFile
from quantbench.networks.random_weights import seeded
from quantbench.networks.shipped import shipped

_NAMED = 3  # keys that a message names before it only counts
_LONGEST = 200  # letters that a library's message may have in ours


@dataclass(frozen=True)
class Source:
    """What the configuration says of a network's weights; see `huggingface.load`."""

    name: str
    weights: str
    seed: int
    hub: str
    path: str | None
    asset: str | None
    architecture: Mapping[str, Any] | None
    classes: int | None


@dataclass(frozen=True)
class Opened:
    """What a source came to: the configuration of transformers, and the folder of the weights, if they are in one."""

    source: Source
    config: Any
    folder: Path | None
    tokenizer_folder: Callable[[], Path]

    @property
    def tokenizer_version(self) -> str:
        """What tells this tokenizer from others: the first digits of its files' sha256; its origin, if not here.

        With random weights of a known architecture it is not looked for.
        """
        made_up = self.source.weights == "random" and self.source.architecture is not None
        try:
            folder = self.folder or (None if made_up else self.tokenizer_folder())
        except UserError:  # it is missed where a text is read
            folder = None
        if folder is None:
            return f"of {self.source.asset or self.source.hub}"
        return content_sha256(*(file for file in text_files(folder) if file.name != "config.json"))[:12]


def open_source(source: Source) -> Opened:
    """Find configuration and weights; with random weights of a known architecture nothing is needed.

    Raises UserError if they cannot be had; the message says what to give instead.
    """
    if source.weights in ("registry", "shipped") and not source.asset:
        raise UserError(f"model.weights={source.weights}: {source.name} has none; give hub, random or a file")
    has_folder = source.weights in ("hub", "registry", "shipped")
    folder = _folder(source, weights=True) if has_folder else None
    config = _config(source, folder)
    return Opened(source, config, folder, partial(_folder, source, weights=False))


def is_ctranslate2(folder: Path) -> bool:
    """Whether the weights of a folder are in CTranslate2's format, and none in another."""
    return [file.name for file in weight_files(folder)] == [FILE]


def build(opened: Opened, auto_class: str) -> nn.Module:
    """The module in eval mode with its weights. Raises UserError if these do not fit it."""
    import transformers

    source, builder = opened.source, getattr(transformers, auto_class)
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if opened.folder is None:
        module = seeded(lambda: _from_config(builder, opened), source.seed)
        _drop_pooler(module, auto_class)
        restore(module, source.weights, seed=source.seed, known_as="hub")
        return module
    if is_ctranslate2(opened.folder):
        module = seeded(lambda: _from_config(builder, opened), source.seed)
        load_into(module, WhisperFile(opened.folder).state(), opened.folder / FILE)
        return module.eval()
    _check_types(opened.folder)
    module, missing = _from_folder(builder, opened)
    _drop_pooler(module, auto_class)
    missing &= module.state_dict().keys()
    if source.weights == "shipped":
        path, sha256 = shipped(source.name)
        changed, _ = read(path, sha256)
        missing -= changed.keys()
        load_into(module, {**module.state_dict(), **{key: t.float() for key, t in changed.items()}}, path)
    if missing:
        shown = ", ".join([*sorted(missing)[:_NAMED], *(["..."] if len(missing) > _NAMED else [])])
        raise UserError(
            f"{opened.folder} lacks {len(missing)} tensors of this network ({shown}): "
            "its weights were made for another model.head"
        )
    check_finite(module.state_dict(), opened.folder)
    return module.eval()


def _check_types(folder: Path) -> None:
    """Raises UserError where weights are codes of a quantized network, which transformers would take for numbers."""
    from safetensors import safe_open

    for file in (file for file in weight_files(folder) if file.suffix == ".safetensors"):
        try:
            with safe_open(file, framework="pt") as opened:
                types = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
        except Exception as error:  # what is raised on damage depends on the byte that is damaged
            raise _unloadable(folder, error) from error
        for name, kind in types.items():
            if kind == "I8" or kind.startswith(("F8", "F6", "F4", "C")):
                raise UserError(f"{file}: {name} is {kind}: a network that is quantized already; get its float version")


def _unloadable(folder: Path, error: Exception) -> UserError:
    return UserError(f"the weights in {folder} cannot be loaded ({_reason(error)})")


def _reason(error: Exception) -> str:
    return in_one_line(error)[:_LONGEST] or type(error).__name__


def weights_identity(opened: Opened) -> str:
    """What identifies the weights: `sha256:<hex>` of their files, or `random:<seed>`."""
    source = opened.source
    if source.weights == "random":
        return f"random:{source.seed}"
    if opened.folder is None:
        return f"sha256:{content_sha256(Path(source.weights).expanduser())}"
    own = [shipped(source.name)[1]] if source.weights == "shipped" else []
    return "sha256:" + "+".join([content_sha256(*weight_files(opened.folder)), *own])


def read_tokenizer(name: str, folder: Callable[[], Path], vocabulary: int, fast: bool = True) -> Any:
    """The tokenizer of a network that knows `vocabulary` words. Raises UserError if it cannot be read or does not fit.

    With `fast`, it must be one that says where in the text its tokens are.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    place = folder()
    if not has_tokenizer(place):
        raise UserError(f"{name} has no tokenizer: there is no tokenizer.json, vocab.txt or the like in {place}")
    try:
        if is_ctranslate2(place):
            file = str(place / "tokenizer.json")
            tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=file)  # type: ignore[no-untyped-call]
        else:
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # what a damaged tokenizer.json raises has no class of its own
        raise UserError(f"{name} has no tokenizer that can be read ({_reason(error)})") from error
    if fast and not tokenizer.is_fast:
        raise UserError(f"{name}: the tokenizer must have a tokenizer.json or a type that transformers converts to it")
    if len(tokenizer) > vocabulary:
        raise UserError(f"{name}: the tokenizer has {len(tokenizer)} words, the network {vocabulary}: they do not fit")
    return tokenizer


def _folder(source: Source, weights: bool) -> Path:
    """The folder with the files of a network: that of the user, of the asset, or of the hub's cache."""
    if source.path is None and source.asset is not None:
        return fetch(source.asset)
    folder = Path(source.path or source.hub).expanduser()
    if source.path is not None or folder.is_dir() or source.hub.startswith((".", "/", "~")):
        needed = ["config.json", *(["model.safetensors or pytorch_model.bin"] if weights else [])]
        found = [(folder / "config.json").is_file(), bool(weight_files(folder))]
        for what, there in zip(needed, found, strict=False):
            if not there:
                raise UserError(f"there is no {what} in {folder}: give a folder as save_pretrained writes it")
        return folder
    try:
        return network_folder(source.hub, weights)
    except Absent as error:
        raise UserError(
            f"{source.name} needs {source.hub} from the Hugging Face hub, which is not in its cache and cannot be "
            f"downloaded ({error}): give {'model.name' if source.hub == source.name else 'model.path'}=FOLDER with a "
            "copy of it (config.json, model.safetensors, tokenizer.json); model=minilm_trec is a network that runs "
            "without the hub"
        ) from error


def _config(source: Source, folder: Path | None) -> Any:
    from transformers import AutoConfig

    labels = {} if source.classes is None else {"num_labels": source.classes}
    try:
        if folder is None and source.architecture is not None:
            return AutoConfig.for_model(**{**source.architecture, **labels})
        folder = folder or _folder(source, weights=False)
        if is_ctranslate2(folder):
            return WhisperFile(folder).config()
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **labels)
    except (OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{source.name}: the configuration cannot be used ({_reason(error)})") from error
    # The file may name a kernel of the hub, whose code transformers would fetch and run.
    config._attn_implementation = None
    return config


def _from_config(builder: Any, opened: Opened) -> nn.Module:
    try:
        module: nn.Module = builder.from_config(opened.config, dtype=torch.float32)
    except ValueError as error:  # there is no such head for this architecture
        raise UserError(f"{opened.source.name} cannot be built ({_reason(error)})") from error
    return module


def _from_folder(builder: Any, opened: Opened) -> tuple[nn.Module, set[str]]:
    """The module with the weights of its folder, and the keys that these lack. Files cannot run code."""
    try:
        module, found = builder.from_pretrained(
            opened.folder,
            config=opened.config,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            dtype=torch.float32,
        )
    except Exception as error:  # what a damaged or hostile file raises depends on its format
        assert opened.folder is not None
        raise _unloadable(opened.folder, error) from error
    return module, set(found["missing_keys"])


def _drop_pooler(module: nn.Module, auto_class: str) -> None:
    """Remove the layer behind the last hidden states that an embedding, which is their mean, never looks at."""
    if auto_class == "AutoModel" and getattr(module, "pooler", None) is not None:
        module.pooler = None  # type: ignore[assignment]
