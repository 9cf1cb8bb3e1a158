"""Small networks as NeMo and DeepLearningExamples publish them, and what they answer, computed layer by layer."""

import io
import tarfile

import torch
import yaml
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from quantbench.networks.jasper.network import Stage

LETTERS = [" ", *"abcdefghijklmnopqrstuvwxyz", "'"]


def block(filters, kernel, repeat=1, stride=1, dilation=1, residual=False, **more):
    """A block as NeMo's configurations have it."""
    lists = {"kernel": [kernel], "stride": [stride], "dilation": [dilation]}
    return {"filters": filters, "repeat": repeat, "residual": residual, "dropout": 0.1, **lists, **more}


DENSE = [
    block(8, 5, stride=2),
    block(8, 3, repeat=2, residual=True, residual_dense=True),
    block(12, 7, repeat=3, residual=True, residual_dense=True),
    block(12, 3, repeat=1, residual=True, residual_dense=True),
    block(16, 3, dilation=2),
    block(20, 1),
]
SEPARABLE = [
    block(8, 5, stride=2, separable=True),
    block(8, 3, repeat=2, residual=True, separable=True),
    block(12, 7, repeat=3, residual=True, separable=True),
    block(16, 3, dilation=2, separable=True),
    block(20, 1),
]
TINY = {
    "jasper": [
        Stage(8, 5, stride=2),
        Stage(8, 3, repeat=2, residual="dense"),
        Stage(12, 7, repeat=3, residual="dense"),
        Stage(12, 3, residual="dense"),
        Stage(16, 3, dilation=2),
        Stage(20, 1),
    ],
    "quartznet15x5": [
        Stage(8, 5, stride=2, separable=True),
        Stage(8, 3, repeat=2, residual="plain", separable=True),
        Stage(12, 7, repeat=3, residual="plain", separable=True),
        Stage(16, 3, dilation=2, separable=True),
        Stage(20, 1),
    ],
}
JASPER = [
    block(256, 11, stride=2),
    *(
        block(filters, kernel, repeat=5, residual=True, residual_dense=True)
        for filters, kernel in ((256, 11), (384, 13), (512, 17), (640, 21), (768, 25))
        for _ in range(2)
    ),
    block(896, 29, dilation=2),
    block(1024, 1),
]
QUARTZNET = [
    block(256, 33, stride=2, separable=True),
    *(
        block(filters, kernel, repeat=5, residual=True, separable=True)
        for filters, kernel in ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75))
        for _ in range(3)
    ),
    block(512, 87, dilation=2, separable=True),
    block(1024, 1),
]
BLOCKS = {"jasper": DENSE, "quartznet15x5": SEPARABLE}


def shapes(blocks):
    """Every tensor of NeMo's network, the features' buffers left out: name -> shape."""
    found, inputs = {}, [64]

    def norm(name, channels):
        found.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        found[f"{name}.num_batches_tracked"] = ()

    for i, one in enumerate(blocks):
        width, channels, kernel, layer = inputs[-1], one["filters"], one["kernel"][0], 0
        at = f"encoder.encoder.{i}"
        for _ in range(one["repeat"]):
            if one.get("separable"):
                found[f"{at}.mconv.{layer}.conv.weight"] = (width, 1, kernel)
                found[f"{at}.mconv.{layer + 1}.conv.weight"] = (channels, width, 1)
                layer += 1
            else:
                found[f"{at}.mconv.{layer}.conv.weight"] = (channels, width, kernel)
            norm(f"{at}.mconv.{layer + 1}", channels)
            width, layer = channels, layer + 4
        for k, source in enumerate(inputs if one["residual"] else []):
            found[f"{at}.res.{k}.0.conv.weight"] = (channels, source, 1)
            norm(f"{at}.res.{k}.1", channels)
        inputs = [*inputs, channels] if one.get("residual_dense") else [channels]
    found["decoder.decoder_layers.0.weight"] = (29, inputs[-1], 1)
    found["decoder.decoder_layers.0.bias"] = (29,)
    return found


def random_state(blocks, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(blocks).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = torch.randn(shape, generator=generator) / (shape[1] if len(shape) > 1 else 1) ** 0.5
    return state


def computed(state, blocks, x):
    """What NeMo's network answers to one utterance [1, 64, T]."""

    def norm(x, at):
        mean, var, weight, bias = (state[f"{at}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    outputs = [x]
    for i, one in enumerate(blocks):
        at, x, layer = f"encoder.encoder.{i}", outputs[-1], 0
        kernel, stride, dilation = (one[key][0] for key in ("kernel", "stride", "dilation"))
        for repeat in range(one["repeat"]):
            groups = x.shape[1] if one.get("separable") else 1
            weight = state[f"{at}.mconv.{layer}.conv.weight"]
            x = F.conv1d(x, weight, None, stride, dilation * (kernel - 1) // 2, dilation, groups)
            if one.get("separable"):
                layer += 1
                x = F.conv1d(x, state[f"{at}.mconv.{layer}.conv.weight"])
            x = norm(x, f"{at}.mconv.{layer + 1}")
            layer += 4
            if repeat < one["repeat"] - 1:
                x = F.relu(x)
        if one["residual"]:
            for k, source in enumerate(outputs):
                x = x + norm(F.conv1d(source, state[f"{at}.res.{k}.0.conv.weight"]), f"{at}.res.{k}.1")
        x = F.relu(x)
        outputs = [*outputs, x] if one.get("residual_dense") else [x]
    head = "decoder.decoder_layers.0"
    return F.conv1d(outputs[-1], state[f"{head}.weight"], state[f"{head}.bias"]).transpose(1, 2)


def configuration(blocks):
    return {
        "labels": LETTERS,
        "preprocessor": {
            "normalize": "per_feature",
            "window_size": 0.02,
            "window_stride": 0.01,
            "window": "hann",
            "features": 64,
            "n_fft": 512,
            "dither": 1e-5,
            "sample_rate": 16000,
            "frame_splicing": 1,
        },
        "encoder": {"feat_in": 64, "activation": "relu", "conv_mask": True, "jasper": blocks},
        "decoder": {"feat_in": 20, "num_classes": 28, "vocabulary": LETTERS},
    }


def buffers(mel_scale="slaney"):
    """The features' constants, in NeMo from librosa and torch."""
    bank = mel_filter_bank(257, 64, 0.0, 8000.0, 16000, norm="slaney", mel_scale=mel_scale)
    return {
        "preprocessor.featurizer.window": torch.hann_window(320, periodic=False),
        "preprocessor.featurizer.fb": torch.tensor(bank.T[None], dtype=torch.float32),
    }


def saved(state):
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def write_tar(path, files, compressed=True):
    with tarfile.open(path, "w:gz" if compressed else "w:") as archive:
        archive.addfile(directory := tarfile.TarInfo("."))
        directory.type = tarfile.DIRTYPE
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_nemo(path, state, config, compressed=True):
    files = {"./model_config.yaml": yaml.safe_dump(config).encode(), "./model_weights.ckpt": saved(state)}
    return write_tar(path, files, compressed)
