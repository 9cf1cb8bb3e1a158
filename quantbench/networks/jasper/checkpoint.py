"""Reads Jasper and QuartzNet as NVIDIA publishes them: NeMo's archives and the checkpoints of DeepLearningExamples.

Both number the layers of a block alike: convolution (separable: two), batch normalization, activation, dropout, and
again; `res.k` is the connection from the k-th input. Sources: NVIDIA/NeMo, nemo/collections/asr/parts/submodules/
jasper.py, modules/conv_asr.py and parts/preprocessing/features.py; NVIDIA/DeepLearningExamples,
PyTorch/SpeechRecognition/{Jasper,QuartzNet}.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor

from quantbench.assets.content import content_sha256
from quantbench.errors import UserError
from quantbench.networks import checkpoint
from quantbench.networks.jasper.features import PLAIN, Hearing, mel_filters, window
from quantbench.sweep.yaml_bounds import check_text

if TYPE_CHECKING:
    from quantbench.networks.jasper.network import Stage

DEEP_LEARNING_EXAMPLES = Hearing(floor=1e-20, dither=1e-5, lead=16)
"""As its inference.py hears: common/features.py with the dither of its configurations, and --pad_leading."""

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_LARGEST = {_CONFIG: 1 << 20, _WEIGHTS: 4 << 30}  # bytes; Jasper's weights are 1.3 GB
_MOST_COMPRESSED = 20  # weights hardly are
_AVERAGED = "ema_state_dict"  # what inference.sh of DeepLearningExamples evaluates where there is one

# The names of both libraries, of all their versions, become one: encoder.{block}.{conv|res.k}.{layer}.{tensor}.
_RENAMES = [
    (re.compile(r"^module\."), ""),  # DistributedDataParallel
    (re.compile(r"^acoustic_model\.(?=jasper_)"), ""),  # the same layers once more
    (re.compile(r"^(jasper_encoder\.encoder|encoder\.encoder|encoder\.layers)\.(?=\d)"), "encoder."),
    (re.compile(r"^(jasper_decoder\.decoder_layers|decoder\.decoder_layers|decoder\.layers)\.0\."), "head."),
    (re.compile(r"^(encoder\.\d+)\.mconv\."), r"\1.conv."),
    (re.compile(r"(\.\d+)\.conv\.weight$"), r"\1.weight"),  # a masked convolution holds one, or is one
]
_LONGEST = 300  # letters of a value in a message

_OF_DEEP_LEARNING_EXAMPLES = re.compile(r"^(module\.)?(decoder\.layers|(acoustic_model\.)?jasper_decoder)\.")
_FEATURIZER = re.compile(r"^(module\.)?(audio_)?preprocessor\.featurizer\.")  # buffers of the features, no weights

# Setting -> what it may be. A setting that is not there has NeMo's default, which is among them.
_PREPROCESSOR: dict[str, tuple[Any, ...]] = {
    "sample_rate": (16000,),
    "features": (64,),
    "window_size": (0.02, None),
    "window_stride": (0.01, None),
    "n_window_size": (None, 320),
    "n_window_stride": (None, 160),
    "window": ("hann",),
    "n_fft": (None, 512),
    "normalize": ("per_feature",),
    "preemph": (0.97,),
    "lowfreq": (0, None),
    "highfreq": (None, 0, 8000),
    "log": (True,),
    "log_zero_guard_type": ("add",),
    "log_zero_guard_value": (2.0**-24,),
    "mag_power": (2.0,),
    "mel_norm": ("slaney",),
    "frame_splicing": (1,),
    "exact_pad": (False,),
    "stft_exact_pad": (False,),
}
_ENCODER: dict[str, tuple[Any, ...]] = {
    "activation": ("relu",),
    "feat_in": (64,),
    "normalization_mode": ("batch",),
    "residual_mode": ("add", "stride_add"),
    "frame_splicing": (1,),
}


@dataclass(frozen=True)
class Weights:
    """A state dict of `Acoustic`, the sha256 of its file in hex, and what the network that it is of hears."""

    state: dict[str, Tensor]
    sha256: str
    hearing: Hearing


def read(path: Path, stages: Sequence[Stage], letters: str) -> Weights:
    """The weights in a .nemo file, or in one of PyTorch or safetensors with NVIDIA's names or those of `Acoustic`.

    `stages` and `letters` are those of the network that is wanted. Names that are unknown stay as they are. No file
    can run code. Raises UserError if the file is damaged, or if what it says of itself is not that network.
    """
    if path.suffix == ".nemo":
        state, sha256 = _nemo(path, stages, letters), content_sha256(path)
    else:
        state, sha256 = checkpoint.read(path, nests=(_AVERAGED, *checkpoint.NESTS))
    hears = DEEP_LEARNING_EXAMPLES if any(map(_OF_DEEP_LEARNING_EXAMPLES.match, state)) else PLAIN
    return Weights(renamed(state, stages, path), sha256, hears)


def renamed(state: Mapping[str, Tensor], stages: Sequence[Stage], path: Path) -> dict[str, Tensor]:
    """The tensors by their names in `Acoustic`; unknown names stay. Raises UserError for another mel filter bank."""
    names = dict(_names(stages))
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if _is_feature_buffer(key, tensor, path):
            continue
        canonical = key
        for pattern, replacement in _RENAMES:
            canonical = pattern.sub(replacement, canonical)
        layer, _, last = canonical.rpartition(".")
        name = f"{names[layer]}.{last}" if layer in names else key
        if name in found and not torch.equal(found[name], tensor):
            raise UserError(f"{path} holds two different tensors for {name}; the second is {key}")
        found[name] = tensor
    return found


def _names(stages: Sequence[Stage]) -> Iterator[tuple[str, str]]:
    """Every layer: NVIDIA's name, ours."""
    dense = 0
    for i, stage in enumerate(stages):
        convolutions = 2 if stage.separable else 1
        for j in range(stage.repeat):
            first = j * (convolutions + 3)  # batch normalization, activation and dropout have numbers too
            for k in range(convolutions):
                yield f"encoder.{i}.conv.{first + k}", f"blocks.{i}.convolutions.{j}.{k}"
            yield f"encoder.{i}.conv.{first + convolutions}", f"blocks.{i}.norms.{j}"
        dense = dense + 1 if stage.residual == "dense" else 0
        for k in range({"dense": dense, "plain": 1, None: 0}[stage.residual]):
            for layer in range(2):
                yield f"encoder.{i}.res.{k}.{layer}", f"blocks.{i}.shortcuts.{k}.{layer}"
    yield "head", "head"


def _is_feature_buffer(key: str, tensor: Tensor, path: Path) -> bool:
    """Whether it is no weight but a constant of the features; UserError if it is another than ours."""
    buffer = _FEATURIZER.sub("", key)
    if buffer == key or buffer not in ("fb", "window"):
        return False
    ours = mel_filters()[None] if buffer == "fb" else window()
    if tensor.shape != ours.shape or not torch.allclose(tensor.float(), ours, rtol=1e-2, atol=1e-4):
        raise UserError(
            f"{path} was trained with other features: {key} {tuple(tensor.shape)} is not that of quantbench"
        )
    return True


def _nemo(path: Path, stages: Sequence[Stage], letters: str) -> dict[str, Tensor]:
    """The state dict of a NeMo archive whose configuration is that of the network."""
    with _unpacked(path) as files:
        try:
            content = files[_CONFIG].read()
            check_text(content, path)
            config = yaml.safe_load(content)
        except (UserError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({_CONFIG} is no YAML); get it anew") from error
        difference = next(_differences(config, stages, letters), None)
        if difference:
            raise UserError(f"{path} is another network: in its {_CONFIG}, {difference}")
        return checkpoint.tensors(checkpoint.unpickled(files[_WEIGHTS], path), path)


@contextmanager
def _unpacked(path: Path) -> Iterator[dict[str, IO[bytes]]]:
    """The two files of the archive that count, in temporary files without a name; whatever else is in it is ignored."""
    with ExitStack() as stack:
        found: dict[str, IO[bytes]] = {}
        try:
            with path.open("rb") as stream:
                compressed = stream.read(2) == b"\x1f\x8b"  # the older ones are
            most = _MOST_COMPRESSED * path.stat().st_size + _LARGEST[_CONFIG]
            with tarfile.open(path, "r:gz" if compressed else "r:") as archive:
                for member in archive:
                    most -= member.size
                    name = member.name.removeprefix("./")
                    if member.size > _LARGEST.get(name, _LARGEST[_WEIGHTS]):
                        raise UserError(f"{path} cannot be a network: it says that {name!r} has {member.size:,} bytes")
                    if most < 0:
                        raise UserError(
                            f"{path} cannot be a network: it unpacks to more than {_MOST_COMPRESSED} times its size"
                        )
                    source = archive.extractfile(member) if name in _LARGEST and member.isreg() else None
                    if source is not None and name not in found:
                        found[name] = stack.enter_context(tempfile.TemporaryFile())
                        shutil.copyfileobj(source, found[name], 1 << 20)
                        found[name].seek(0)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged ({checkpoint.one_line(error)}); get it anew") from error
        for name in _LARGEST:
            if name not in found:
                raise UserError(f"{path} is no network of NeMo: it holds no file {name}")
        yield found


def _differences(config: Any, stages: Sequence[Stage], letters: str) -> Iterator[str]:
    """What a configuration says that is not so for the network, each in words."""
    config = _section(config, "model") or config
    decoder, encoder = _section(config, "decoder"), _section(config, "encoder")
    blocks = encoder.get("jasper")
    yield from _deviations("preprocessor", _section(config, "preprocessor"), _PREPROCESSOR)
    yield from _deviations("encoder", encoder, _ENCODER)
    if not isinstance(blocks, list) or len(blocks) != len(stages):
        yield f"encoder.jasper has {len(blocks) if isinstance(blocks, list) else 'no'} blocks, not {len(stages)}"
        return
    for i, (block, stage) in enumerate(zip(blocks, stages, strict=True)):
        wanted = _block(stage)
        said = block if isinstance(block, Mapping) else {}
        yield from _deviations(f"encoder.jasper[{i}]", {**dict.fromkeys(wanted), **said}, wanted)
    vocabulary = decoder.get("vocabulary") or config.get("labels")
    if vocabulary != list(letters):
        yield f"the letters are {_short(vocabulary)}, not {list(letters)!r}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _block(stage: Stage) -> dict[str, tuple[Any, ...]]:
    """What a block of NeMo's must say to be that stage. Dropout may differ: it does nothing here."""
    dense = stage.residual == "dense"
    return {
        "filters": (stage.channels,),
        "repeat": (stage.repeat,),
        "kernel": (stage.kernel,),
        "stride": (stage.stride,),
        "dilation": (stage.dilation,),
        "residual": (stage.residual is not None,),
        "residual_dense": (True,) if dense else (False, None),
        "separable": (True,) if stage.separable else (False, None),
        "residual_mode": ("add", "stride_add", None),
        "future_context": (-1, None),
    }


def _deviations(where: str, settings: Mapping[str, Any], accepted: Mapping[str, tuple[Any, ...]]) -> Iterator[str]:
    for key in (key for key in accepted if key in settings):
        found = settings[key]
        found = found[0] if isinstance(found, list) and len(found) == 1 else found
        if found not in accepted[key]:
            yield f"{where}.{key} is {_short(found)}, not {accepted[key][0]!r}"


def _section(config: Any, name: str) -> Mapping[str, Any]:
    section = config.get(name) if isinstance(config, Mapping) else None
    return section if isinstance(section, Mapping) else {}
