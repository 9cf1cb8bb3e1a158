"""Torchvision's models: with weights that are downloaded, of a file, or random."""

import hashlib
import re
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


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_weights_of_a_file_get_the_transform_that_they_were_trained_with(tmp_path, arch):
    """Torchvision sets transform_input, and drops auxiliary heads, where its own weights are asked for."""
    size = 96
    theirs = seeded(lambda: models.get_model(arch, weights=None, transform_input=True, init_weights=False), 1).eval()
    state = {key: value for key, value in theirs.state_dict().items() if not key.lower().startswith("aux")}
    torch.save(state, tmp_path / "w.pth")
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    photo = torch.rand(2, 3, size, size)
    for file in ("w.pth", "whole.pth"):
        network = load(arch, weights=str(tmp_path / file))
        with torch.no_grad():
            assert torch.equal(network.module(photo), theirs(photo))
        assert network.preprocessing.endswith("transform_input=True")
        assert "transform_input: false into its file" in network.remarks[0]
    network = load(arch, weights=str(tmp_path / "whole.pth"), transform_input=False)
    assert not network.module.transform_input and network.remarks == ()
    with torch.no_grad():
        assert not torch.equal(network.module(photo), theirs(photo))


def test_a_transform_of_the_inputs_is_for_two_networks():
    with pytest.raises(UserError, match=r"model\.transform_input: is for googlenet and inception_v3"):
        load("resnet18", weights="random", transform_input=True)


def test_a_network_is_as_large_as_the_pictures_of_its_weights(monkeypatch):
    seen = {}

    def get_model(arch, weights=None, **options):
        seen.update(options)
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 1000))

    monkeypatch.setattr(models, "get_model", get_model)
    network = load("vit_b_16", weights="random", preprocessing="IMAGENET1K_SWAG_E2E_V1")
    assert seen == {"num_classes": 1000, "image_size": 384} and network.example[0].shape == (1, 3, 384, 384)


def test_files_of_older_versions(tmp_path):
    """DenseNet's published files have dots in names; MNASNet asks for a version that a dict of tensors lacks."""
    module = seeded(models.densenet121, 1)
    old = {re.sub(r"(norm|conv)([12])\.(?=[a-z_]+$)", r"\1.\2.", k): v for k, v in module.state_dict().items()}
    old = {k: v for k, v in old.items() if "tracked" not in k}
    assert any("denselayer1.norm.1.weight" in key for key in old)
    torch.save(old, tmp_path / "dense.pth")
    found = load("densenet121", weights=str(tmp_path / "dense.pth")).module.state_dict()
    assert all(torch.equal(found[key], value) for key, value in module.state_dict().items() if "tracked" not in key)
    module = seeded(models.mnasnet0_5, 1)
    torch.save(module.state_dict(), tmp_path / "mnas.pth")
    network = load("mnasnet0_5", weights=str(tmp_path / "mnas.pth"))
    assert torch.equal(network.module.layers[0].weight, module.layers[0].weight)


def test_classes_are_those_of_the_published_weights(hub):
    made, path, _, _ = hub
    path.parent.mkdir(parents=True)
    path.write_bytes(made.read_bytes())
    network = load("resnet18")
    assert network.classes[:2] == ("tench", "goldfish") and network.outputs == 1000
    network = load("resnet18", weights=str(made))
    assert network.classes is None and network.outputs == 1000
