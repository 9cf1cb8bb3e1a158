"""Torchvision's models: with weights that are downloaded, of a file, or random."""

import hashlib
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.random_weights import seeded
from quantbench.networks.torchvision import entry_classes


def load(name, **options):
    return networks.load({"name": name, "family": "torchvision", "seed": 0, **options})


def test_torchvision_with_random_weights():
    network = load("small", arch="mobilenet_v3_small", weights="random", seed=4)
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
    module = seeded(models.resnet18, 7)
    torch.save(module.state_dict(), tmp_path / "made.pth")
    sha256 = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()
    entry = models.ResNet18_Weights.IMAGENET1K_V1
    path = tmp_path / "hub" / "checkpoints" / f"resnet18-{sha256[:8]}.pth"
    monkeypatch.setitem(entry.value.__dict__, "url", f"{tmp_path.as_uri()}/{path.name}")
    return tmp_path / "made.pth", path, module, sha256


def test_torchvision_weights_are_downloaded_and_verified(hub, tmp_path):
    made, path, module, sha256 = hub
    (tmp_path / path.name).write_bytes(made.read_bytes())
    network = load("resnet18", weights="IMAGENET1K_V1")
    assert path.is_file() and network.weights == f"sha256:{sha256}" and not network.module.training
    assert torch.equal(network.module.fc.weight, module.fc.weight)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is damaged: its sha256"):
        load("resnet18", weights="IMAGENET1K_V1")


def test_a_wrong_torchvision_download_is_refused(hub, tmp_path):
    made, path, _, _ = hub
    (tmp_path / path.name).write_bytes(made.read_bytes()[:-1])
    with pytest.raises(UserError, match="invalid hash value"):
        load("resnet18", weights="IMAGENET1K_V1")
    assert not path.exists()


def test_torchvision_without_network_says_what_to_do(hub, monkeypatch):
    _, path, _, _ = hub

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UserError) as error:
        load("resnet18", weights="IMAGENET1K_V1")
    text = str(error.value)
    assert path.name in text and f"put it at {path}" in text and "model.weights=FILE" in text and "\n" not in text


def test_torchvision_weights_from_a_file_with_other_classes(tmp_path):
    module = seeded(lambda: models.shufflenet_v2_x0_5(num_classes=7), 1)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    network = load("net", arch="shufflenet_v2_x0_5", weights=str(tmp_path / "w.pth"), classes=7)
    assert torch.equal(network.module.fc.weight, module.fc.weight)
    with pytest.raises(UserError, match=r"2 of another shape \(fc\.weight \(7, 1024\) instead of \(1000, 1024\)"):
        load("net", arch="shufflenet_v2_x0_5", weights=str(tmp_path / "w.pth"))


def test_published_classes():
    assert entry_classes(models.ResNet50_Weights.DEFAULT) == 1000


def test_wrong_choices_name_the_right_ones():
    for name, options, said in (
        ("resnet81", {}, r"'resnet81'.*resnet18"),
        ("fcn_resnet50", {}, r"'fcn_resnet50'"),
        ("resnet18", {"weights": "V9"}, r"model\.weights=V9: no such file; it must be IMAGENET1K_V1, DEFAULT, random"),
        ("resnet18", {"weights": "random", "preprocessing": "V9"}, r"model\.preprocessing=V9"),
        ("resnet18", {"classes": 7}, r"model\.classes=7, but IMAGENET1K_V1 of resnet18 has 1000 classes"),
    ):
        with pytest.raises(UserError, match=said):
            load(name, **options)
