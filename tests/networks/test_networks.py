"""Loaders by family and by a dotted path, and what identifies a network."""

import hashlib
import inspect
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from quantbench import networks
from quantbench.errors import UserError
from quantbench.networks.shipped import WEIGHTS, shipped
from tests.tiny_language import architecture

FASHION = {"name": "resnet20_fashion", "family": "fashion", "weights": "random", "seed": 0}
MINE = """
from quantbench.networks import fashion

def build(*, name, width=1, seed=0):
    made = fashion.load(name="resnet20_fashion", weights="random", seed=seed)
    return type(made)(**{**vars(made), "name": f"{name} {width}"})
"""


def sha256(*contents):
    return hashlib.sha256(b"".join(contents)).hexdigest()


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of one's own with a loader."""
    (tmp_path / "my_networks.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_networks.py"
    sys.modules.pop("my_networks", None)


def test_a_loader_of_one_s_own_is_called_with_the_other_keys(mine):
    network = networks.load({"_target_": "my_networks.build", "name": "mine", "width": 3, "labels": "x", "sha256": "0"})
    assert (network.name, network.weights) == ("mine 3", "random:0")
    with pytest.raises(UserError, match=r"^model=mine: .*'depth'; its options are name, width, seed"):
        networks.load({"_target_": "my_networks.build", "name": "mine", "depth": 3})


def test_an_option_that_a_family_does_not_have_names_those_that_it_has():
    with pytest.raises(UserError, match=r"'depth'.*its options are name, weights, seed, arch"):
        networks.load({**FASHION, "depth": 3})


@pytest.mark.parametrize(
    "choice",
    [{"family": "jax"}, {"family": None}, {"family": "audio"}, {"_target_": "no_module.load"}, {"_target_": "x"}],
)
def test_a_loader_that_is_not_there(choice):
    with pytest.raises(UserError, match=r"^x: "):
        networks.load({"name": "x", **choice})


def test_no_torch_is_imported_before_a_network_is_loaded():
    code = """
import sys
from quantbench import networks
networks.identity({"name": "resnet20_fashion", "family": "fashion", "weights": "shipped"})
networks.identity({"name": ".", "family": "huggingface", "weights": "hub"})
assert not {"torch", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_what_needs_no_file_is_its_own_identity():
    assert networks.identity({**FASHION, "labels": "x"}) == FASHION
    unsupported = {"name": "gnmt", "family": "unsupported"}
    assert networks.identity(unsupported) == unsupported


def test_weights_are_identified_by_their_content(tmp_path, monkeypatch):
    expected = {**FASHION, "weights": "shipped", "sha256": shipped("resnet20_fashion")[1]}
    assert networks.identity({**FASHION, "weights": "shipped"}) == expected
    path = tmp_path / "w.safetensors"
    shutil.copy(WEIGHTS / "resnet20_fashion.safetensors", path)
    assert networks.identity({**FASHION, "weights": str(path)}) == {**expected, "weights": str(path)}
    monkeypatch.chdir(tmp_path)
    found = networks.identity({**FASHION, "weights": "w.safetensors"})
    assert found == {**expected, "weights": str(path)} == networks.identity(found)
    loaded, known = networks.load(networks.identity({**FASHION, "weights": str(path)})), expected["sha256"]
    assert loaded.weights == f"sha256:{known}"


def test_a_loader_of_one_s_own_is_identified_by_its_file(mine):
    config = {"_target_": "my_networks.build", "name": "mine"}
    before = networks.identity(config)
    assert before == {**config, "sha256": sha256(MINE.encode())} and "my_networks" not in sys.modules
    mine.write_text(MINE + "# changed")
    assert networks.identity(config) != before
    mine.write_text(MINE + "\ndef identity(options):\n    return {**options, 'sha256': 'abc'}\n")
    both = "+".join(["abc", sha256(mine.read_bytes())])
    assert networks.identity(config)["sha256"] == sha256(both.encode())


def network_folder(path):
    path.mkdir()
    for name in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"):
        (path / name).write_text(name)
    return path


@pytest.mark.parametrize("change", ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"])
def test_a_folder_in_the_hub_s_place_is_identified_by_its_files(tmp_path, monkeypatch, change):
    folder = network_folder(tmp_path / "net")
    config = {"name": "bert", "family": "huggingface", "weights": "hub", "hub": "some/bert", "path": str(folder)}
    before = networks.identity(config)
    (folder / "training_state.safetensors").write_text("no weights")
    assert networks.identity(config) == before
    with (folder / change).open("a") as file:
        file.write("\n")
    changed = networks.identity(config)
    assert changed["path"] == before["path"] and changed["sha256"] != before["sha256"]
    monkeypatch.chdir(tmp_path)
    assert networks.identity({**config, "path": "net"}) == changed
    by_name = networks.identity({"name": "net", "family": "huggingface", "weights": "hub"})
    assert (by_name["path"], by_name["sha256"]) == (str(folder), changed["sha256"])


def test_weights_of_a_file_count_beside_the_folder(tmp_path):
    folder, weights = network_folder(tmp_path / "net"), tmp_path / "mine.safetensors"
    config = {"name": "bert", "family": "huggingface", "weights": str(weights), "path": str(folder)}
    found = []
    for path in (weights, folder / "vocab.txt", folder / "model.safetensors"):  # the last is not read
        with path.open("a") as file:
            file.write("\n")
        found.append(networks.identity(config)["sha256"])
    assert found[0] != found[1] == found[2]


def test_a_folder_that_is_called_like_a_network_of_an_asset_is_none_of_its_files(tmp_path, monkeypatch):
    config = {"name": "net", "family": "huggingface", "weights": "registry", "asset": "minilm"}
    network_folder(tmp_path / "net")
    monkeypatch.chdir(tmp_path)
    assert networks.identity(config) == config


def test_the_attention_of_a_network_is_visible():
    made = architecture("bert", "flex_attention")
    config = {"name": "tiny", "family": "huggingface", "head": "embedding", "weights": "random", "max_length": 16}
    assert networks.load({**config, "architecture": made, "seed": 0}).module.config._attn_implementation == "sdpa"


def test_every_choice_of_ours_fits_its_loader():
    folder = Path(networks.__file__).parents[2] / "conf" / "model"
    built = 0
    for file in sorted(folder.glob("*.yaml")):
        config = yaml.safe_load(file.read_text())
        if config["family"] != "unsupported":
            loader = import_module(f"quantbench.networks.{config['family']}").load
            options = {key: value for key, value in config.items() if key not in ("defaults", "family", "labels")}
            inspect.signature(loader).bind(**options, seed=0)
            built += 1
    assert built > 20
