"""The networks for Fashion-MNIST."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from quantbench import networks, tasks
from quantbench.errors import UserError
from quantbench.networks.fashion import BUILDERS, preprocess
from quantbench.networks.random_weights import seeded
from quantbench.networks.shipped import WEIGHTS, shipped
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from quantbench.tasks.fashion_mnist import normalize


def load(name, **options):
    return networks.load({"name": name, "family": "fashion", "seed": 0, **options})


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_fashion_networks_with_random_weights(name):
    network = load(name, weights="random")
    assert network.weights == "random:0" and not network.module.training
    with torch.no_grad():
        assert network.module(*network.example).shape == (1, 10)


def test_fashion_preprocessing_is_that_of_the_training():
    photo = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    expected = normalize(torch.from_numpy(photo[:, :, 0])[None])
    assert torch.equal(preprocess(photo), expected)


def test_fashion_weights_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "__defaults__", (tmp_path,))
    with pytest.raises(UserError, match="no weights of resnet20_fashion are shipped"):
        load("resnet20_fashion", weights="shipped")
    path = tmp_path / "resnet20_fashion.safetensors"
    save_file(seeded(BUILDERS["resnet20_fashion"], 9).state_dict(), path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(f'{{"sha256": "{found}"}}')
    for weights in ("shipped", str(path)):
        network = load("resnet20_fashion", weights=weights)
        assert network.weights == f"sha256:{found}"
        same = load("resnet20_fashion", weights="random", seed=9)
        assert torch.equal(network.module.fc.weight, same.module.fc.weight)
    path.with_suffix(".json").write_text(f'{{"sha256": "{"0" * 64}"}}')
    with pytest.raises(UserError, match="is damaged: its sha256"):
        load("resnet20_fashion", weights="shipped")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20_fashion", "mobilenet_v2_fashion"])
def test_the_shipped_networks_have_the_accuracy_of_their_records(name):
    record = json.loads((WEIGHTS / f"{name}.json").read_text())
    network = load(name, weights="shipped")
    task = tasks.load({"name": "fashion_mnist"})
    logits = predict(network.module, Inputs(network, task.evaluation), 100, "cpu", "fp32")
    targets = torch.tensor([sample.target for sample in task.evaluation])
    accuracy = 100 * float((logits.argmax(1) == targets).double().mean())
    assert len(logits) == 10_000 and accuracy >= 93.0
    # Another processor may round a near-tie the other way.
    assert accuracy == pytest.approx(record["test_top1"], abs=0.03)


def test_an_unknown_network_names_the_known_ones():
    with pytest.raises(UserError, match=r"no network 'x' in the family fashion.*resnet20_fashion"):
        load("x")
