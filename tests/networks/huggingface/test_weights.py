"""Where language networks come from, and what is refused: one line each, and no code of a file runs."""

import json
import shutil

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from quantbench.errors import UserError
from quantbench.networks import huggingface
from quantbench.networks.huggingface import weights as transformers_weights
from tests.tiny_language import SPECIAL, architecture, marked_network, tokenizer_files

PAIR = ("f1?", "f1 f2 f3")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return marked_network(tmp_path_factory.mktemp("original"), {"f1": (1.5, 0.0)}, ("f2", "f3", "?"))


@pytest.fixture
def place(original, tmp_path):
    return shutil.copytree(original, tmp_path / "network")


def load(folder, head="question_answering", **more):
    return huggingface.load(name=str(folder), head=head, **{"max_length": 64, "stride": 8, **more})


def refused(folder, *, use=False, **more):
    """The one line with which a folder is refused; with `use` when its first text is read."""
    with pytest.raises(UserError) as error:
        network = load(folder, **more)
        if use:
            network.preprocess(PAIR)
    message = str(error.value)
    assert "\n" not in message and len(message) < 500
    return message


def config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def bomb(fuse):
    """A pickle that writes the file `fuse` when it is loaded."""

    class Bomb:
        def __reduce__(self):
            return exec, (f"open({str(fuse)!r}, 'w').close()",)

    return Bomb()


def test_a_folder_is_all_it_takes(place):
    network = load(place)
    assert network.weights.startswith("sha256:") and network.name == str(place)
    assert [len(tensor) for tensor in network.preprocess(PAIR)[0]] == [8, 8, 8]
    named = huggingface.load(name="mine", hub="no/such", path=str(place), head="question_answering", max_length=64)
    assert named.weights == network.weights
    assert torch.equal(*(made.module(*made.example) for made in (network, named)))


def test_weights_of_the_old_format(place):
    expected = load(place)
    torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    found = load(place)
    assert torch.equal(found.module(*found.example), expected.module(*expected.example))


def test_weights_of_a_file_and_the_rest_of_a_folder(place, tmp_path):
    state = load_file(place / "model.safetensors")
    state["qa_outputs.bias"] += 1
    save_file(state, tmp_path / "mine.safetensors")
    plain, mine = load(place), load(place, weights=str(tmp_path / "mine.safetensors"))
    assert torch.allclose(mine.module(*mine.example), plain.module(*plain.example) + 1, atol=1e-5)
    assert mine.weights != plain.weights
    with pytest.raises(UserError, match=r"none\.safetensors: no such file; it must be hub, random or the path"):
        load(place, weights="none.safetensors")


def test_half_precision_becomes_float32(place):
    state = {key: tensor.half() for key, tensor in load_file(place / "model.safetensors").items()}
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    config(place, dtype="float16")
    assert {parameter.dtype for parameter in load(place).module.parameters()} == {torch.float32}


def test_a_folder_without_configuration(place):
    (place / "config.json").unlink()
    assert refused(place).startswith(f"there is no config.json in {place}: give a folder as save_pretrained")


def test_a_folder_without_weights(place):
    (place / "model.safetensors").unlink()
    assert refused(place).startswith(f"there is no model.safetensors or pytorch_model.bin in {place}: give a folder")
    assert load(place, weights="random").weights == "random:0"


def test_a_path_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "config.json" in refused("./nowhere")
    with pytest.raises(UserError, match=r"there is no config\.json in .*nowhere"):
        load("mine", path=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("text", ["{cut", "[]", '{"model_type": "unheard of"}'])
def test_a_configuration_that_cannot_be_used(place, text):
    (place / "config.json").write_text(text)
    assert "the configuration cannot be used (" in refused(place)


def test_weights_of_another_head(place):
    message = refused(place, head="sequence_classification")
    assert f"{place} lacks 4 tensors of this network (bert.pooler.dense.bias" in message
    assert message.endswith("its weights were made for another model.head")
    state = load_file(place / "model.safetensors")
    save_file({key: tensor for key, tensor in state.items() if "qa_outputs" not in key}, place / "model.safetensors")
    assert "lacks 2 tensors of this network (qa_outputs.bias, qa_outputs.weight)" in refused(place)
    assert load(place, head="embedding").module(*load(place, head="embedding").example).shape == (1, 8)


def test_weights_of_another_size(place):
    config(place, hidden_size=16)
    assert f"the weights in {place} cannot be loaded (" in refused(place)


def test_damaged_weights(place):
    path = place / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert f"the weights in {place} cannot be loaded (" in refused(place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.to(torch.int8), "{name} is I8: a network that is quantized already"),
        (lambda weights: weights * torch.nan, "NaN or infinity in 1 tensors, first in {name}"),
    ],
)
def test_weights_that_are_none(place, change, said):
    name = "bert.embeddings.word_embeddings.weight"
    state = load_file(place / "model.safetensors")
    save_file({**state, name: change(state[name])}, place / "model.safetensors", {"format": "pt"})
    assert said.format(name=name) in refused(place)


def test_a_pickle_with_code_is_refused_and_does_not_run(place, tmp_path):
    fuse = tmp_path / "fuse"
    torch.save({"qa_outputs.bias": torch.zeros(2), "more": bomb(fuse)}, place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    assert f"the weights in {place} cannot be loaded (Weights only load failed" in refused(place)
    assert not fuse.exists()


def own_code(place, fuse, file="modeling_mine.py"):
    (place / file).write_text(
        f"open({str(fuse)!r}, 'w').close()\n"
        "from transformers import BertConfig as Config, BertForQuestionAnswering as Network, BertTokenizer as Words\n"
    )


@pytest.fixture
def unasked(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked the user"))


@pytest.mark.usefixtures("unasked")
def test_a_network_with_code_of_its_own_is_refused(place, tmp_path):
    own_code(place, tmp_path / "fuse")
    own = {"AutoConfig": "modeling_mine.Config", "AutoModelForQuestionAnswering": "modeling_mine.Network"}
    config(place, model_type="mine", auto_map=own)
    assert "the configuration cannot be used (" in refused(place)
    assert not (tmp_path / "fuse").exists()


@pytest.mark.usefixtures("unasked")
def test_code_beside_a_known_architecture_is_not_run(place, tmp_path):
    own_code(place, tmp_path / "fuse")
    config(
        place, auto_map={"AutoConfig": "modeling_mine.Config", "AutoModelForQuestionAnswering": "modeling_mine.Network"}
    )
    settings = json.loads((place / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["modeling_mine.Words", "modeling_mine.Words"]}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    network = load(place)
    assert type(network.module).__mro__[1].__module__ == "transformers.models.bert.modeling_bert"
    network.preprocess(PAIR)
    assert not (tmp_path / "fuse").exists()


def test_a_folder_without_a_tokenizer(place):
    for name in ("vocab.txt", "tokenizer_config.json"):
        (place / name).unlink()
    assert f"{place} has no tokenizer: there is no tokenizer.json, vocab.txt" in refused(place, use=True)


@pytest.mark.parametrize("text", ["{cut", "{}"])
def test_a_damaged_tokenizer(place, text):
    (place / "tokenizer.json").write_text(text)
    assert "has no tokenizer that can be read (" in refused(place, use=True)


def test_a_tokenizer_of_another_network(place):
    size = len((place / "vocab.txt").read_text().split())
    tokenizer_files(place, [*SPECIAL, *(f"w{i}" for i in range(20))])
    assert f"the tokenizer has 25 words, the network {size}: they do not fit" in refused(place, use=True)


def test_networks_that_read_no_text(tmp_path):
    from transformers import ViTConfig, ViTModel

    vit = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32)
    ViTModel(vit).save_pretrained(tmp_path)
    for weights in ("hub", "random"):
        assert "reads no text: its configuration has no vocabulary" in refused(
            tmp_path, head="embedding", weights=weights
        )
        assert "reads no text" in refused(tmp_path, weights=weights)


def test_an_asset_is_not_mistaken_for_a_folder_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transformers_weights, "fetch", lambda name: tmp_path / "asset" / name)
    source = transformers_weights.Source("tiny", "registry", 0, "tiny", None, "minilm", None, None)
    assert transformers_weights._folder(source, weights=True) == tmp_path / "asset" / "minilm"


def test_weights_that_a_network_does_not_have():
    for weights in ("registry", "shipped"):
        with pytest.raises(UserError, match=f"^model.weights={weights}: tiny has none; give hub, random or a file$"):
            huggingface.load(name="tiny", head="embedding", weights=weights, architecture=architecture())


def test_shipped_tensors_replace_and_complete_those_of_the_asset(place, tmp_path, monkeypatch):
    own = {"classifier.weight": torch.ones(3, 8), "classifier.bias": torch.arange(3.0)}
    own |= {"bert.pooler.dense.weight": torch.zeros(8, 8).half(), "bert.pooler.dense.bias": torch.zeros(8).half()}
    save_file(own, tmp_path / "mine.safetensors")
    digest = transformers_weights.content_sha256(tmp_path / "mine.safetensors")
    monkeypatch.setattr(transformers_weights, "shipped", lambda name: (tmp_path / f"{name}.safetensors", digest))
    monkeypatch.setattr(transformers_weights, "fetch", lambda name: place)
    made = {"head": "sequence_classification", "weights": "shipped", "asset": "any", "max_length": 64}
    network = huggingface.load(name="mine", classes=3, **made)
    assert network.module(*network.example)[0].tolist() == pytest.approx([0, 1, 2])  # the pooler gives zeros
    assert network.weights.endswith(f"+{digest}")
    own.pop("classifier.bias")
    save_file(own, tmp_path / "less.safetensors")
    digest = transformers_weights.content_sha256(tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=r"lacks 1 tensors of this network \(classifier\.bias\)"):
        huggingface.load(name="less", classes=3, **made)


def test_the_tokenizer_is_told_by_its_files(place):
    before = load(place).preprocessing
    assert before.endswith("at most 64 tokens, windows every 8")
    settings = json.loads((place / "tokenizer_config.json").read_text())
    (place / "tokenizer_config.json").write_text(json.dumps({**settings, "do_lower_case": False}))
    assert load(place).preprocessing != before


def test_a_kernel_of_the_hub_that_a_configuration_names_is_not_fetched(place, monkeypatch):
    config(place, _attn_implementation="kernels-community/hostile", attn_implementation="kernels-community/hostile")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert load(place).module.config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize(("hub", "key"), [("some/network", "model.path"), (None, "model.name")])
def test_without_the_hub_the_message_says_what_to_give(tmp_path, monkeypatch, hub, key):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError) as error:
        huggingface.load(name="bert" if hub else "some/network", head="embedding", hub=hub)
    message = str(error.value)
    assert (
        "needs some/network from the Hugging Face hub, which is not in its cache and cannot be downloaded (" in message
    )
    assert "Connection refused" in message and "\n" not in message
    assert f"give {key}=FOLDER with a copy of it" in message
    assert "model=minilm_trec is a network that runs without" in message
