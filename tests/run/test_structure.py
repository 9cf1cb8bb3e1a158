"""Structure runs: random weights and the task synthetic show that a network can be quantized, with no data at all."""

import csv
import json
import os
import resource
import subprocess
import sys
from collections import Counter

import pytest
import torch
import yaml

from quantbench.assets import huggingface as hub
from quantbench.cli import main as cli
from quantbench.quant.layers import find_layers
from quantbench.sweep.compose import compose_one
from quantbench.sweep.groups import conf_folder, find_groups
from tests.tiny_language import architecture

MODELS = {
    name: family
    for name, file in find_groups([conf_folder()])["model"].items()
    if (family := yaml.safe_load(file.read_text())["family"]) != "unsupported"
}
LANGUAGE = [name for name, family in MODELS.items() if family == "huggingface" and name != "whisper_tiny_en"]
SMALL = [name for name, family in MODELS.items() if family == "fashion"]
TINY = {key: value for key, value in architecture().items() if key not in ("model_type", "attn_implementation")}


@pytest.fixture(autouse=True)
def alone(folder, monkeypatch):
    """Its own cache, and neither assets nor the hub to ask."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setattr(hub, "folder_of", lambda *_: pytest.fail("asked the hub"))
    monkeypatch.setattr("quantbench.networks.huggingface.weights.fetch", lambda _: pytest.fail("asked for an asset"))


def smaller(model):
    """Overrides that make a small network of the architecture of a language network."""
    if model == "hf":
        written = ",".join(f"{key}:{value}" for key, value in {**TINY, "model_type": "roberta"}.items())
        return ["model.name=tiny", "model.head=sequence_classification", f"+model.architecture={{{written}}}"]
    return [f"++model.architecture.{key}={value}" for key, value in TINY.items()]


def run(*overrides):
    """The row of a run and its record."""
    arguments = ["task=synthetic", "task.samples=5", "task.calibration_samples=3", "model.weights=random"]
    assert cli.main(["run", *arguments, *overrides, "results_dir=out"]) == 0
    with open("out/results.csv") as file:
        (row,) = csv.DictReader(file)
    with open(f"out/cells/{row['cell']}.json") as file:
        return row, json.load(file)


def check(row, samples=5):
    assert (row["status"], row["error"], row["samples"], row["calibration_samples"]) == ("ok", "", str(samples), "3")
    for name in ("metric", "fp32", "quantized", "change", "detectable_drop", "p_value", "secondary_metric"):
        assert row[name] == "", name
    assert 0 <= float(row["agreement"]) <= 100 and 5 < float(row["sqnr_db"]) < 80
    assert row["layers"] == row["layers_quantized"] != "0"


@pytest.mark.parametrize("model", LANGUAGE)
def test_language_networks_of_small_size(model):
    row, record = run(f"model={model}", *smaller(model), "model.max_length=16")
    check(row)
    assert record["network"]["weights"] == "random:0"
    assert record["calibration_ids"] == [f"calibration/{1_000_003 + i}" for i in range(3)]
    # In each of 2 layers 6 linear and 2 matrix products; the heads have 1, 2 and none more.
    heads = {"question_answering": 1, "sequence_classification": 2, "embedding": 0}
    head = "sequence_classification" if model == "hf" else yaml.safe_load(read(model))["head"]
    assert int(row["layers"]) == 2 * (6 + 2) + heads[head]


def read(model):
    return (conf_folder() / "model" / f"{model}.yaml").read_text()


@pytest.mark.parametrize("model", SMALL)
def test_vision_networks(model):
    row, _ = run(f"model={model}")
    check(row)


@pytest.mark.parametrize("model", MODELS)
def test_every_network_that_is_built_composes_with_random_weights_and_noise(model):
    config = compose_one([f"model={model}", "task=synthetic", "model.weights=random"], "a test")
    assert (config.task.name, config.model.weights) == ("synthetic", "random")


def test_a_record_of_noise_has_its_lines(folder):
    run("model=minilm_trec", *smaller("minilm_trec"), "model.max_length=16")
    ((samples,),) = [list((folder / "out/cells").glob("*.samples.csv"))]
    with open(samples) as file:
        lines = list(csv.DictReader(file))
    assert [line["sample"] for line in lines] == [f"evaluation/{i}" for i in range(5)]
    assert list(lines[0]) == ["sample", "target", "fp32_prediction", "quantized_prediction", "signal", "noise"]
    assert all(line["target"] == "" and 0 <= int(line["fp32_prediction"]) < 6 for line in lines)


def test_inspect_shows_a_language_network_without_its_weights(capsys):
    assert (
        cli.main(["inspect", "model=bert_base", "model.weights=random", *smaller("bert_base"), "model.max_length=16"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    kinds = Counter(line.split()[1] for line in lines[1:-1])
    assert kinds == {"linear": 2 * 6 + 1, "matmul": 2 * 2}
    assert lines[-1].startswith("17 layers, 34 sites, ")


@pytest.mark.parametrize(("model", "layers"), [("bert_base", 12), ("bert_large", 24)])
def test_bert_has_6_linear_layers_and_2_products_a_layer(model, layers):
    """On the meta device, where weights take neither time nor memory."""
    from transformers import AutoModelForQuestionAnswering, BertConfig

    described = yaml.safe_load(read(model))["architecture"]
    with torch.device("meta"):
        module = AutoModelForQuestionAnswering.from_config(BertConfig(**described)).eval()
        example = torch.zeros(1, 384, dtype=torch.int64)
        found = find_layers(module, example)
    assert Counter(layer.kind for layer in found) == {"linear": 6 * layers + 1, "matmul": 2 * layers}
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert round(parameters / 1e6) == {"bert_base": 109, "bert_large": 334}[model]
    # A layer of hidden size h does 12 h^2 multiplications a token, and 2 h more for each token it looks at.
    hidden = described["hidden_size"]
    assert sum(layer.macs for layer in found) == 384 * (layers * (12 * hidden**2 + 2 * 384 * hidden) + 2 * hidden)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "samples", "layers"), [("bert_large", 8, 24 * 8 + 1), ("jasper", 3, 109)])
def test_networks_of_full_size_run_in_6_gb(folder, model, samples, layers):
    """BERT large on paragraphs of 384 tokens, Jasper 10x5 on ten seconds of sound."""
    arguments = [f"model={model}", "model.weights=random", "task=synthetic", "batch_size=8", "results_dir=out"]
    numbers = [f"task.samples={samples}", f"task.calibration_samples={min(samples, 3)}"]
    command = [sys.executable, "-m", "quantbench", "run", *arguments, *numbers]
    environment = {**os.environ, "QUANTBENCH_CACHE": str(folder / "cache")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run(command, cwd=folder, env=environment, check=True)
    with open("out/results.csv") as file:
        (row,) = csv.DictReader(file)
    check(row, samples=samples)
    assert row["layers"] == str(layers)
    assert float(row["peak_memory_mb"]) < 6000
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak / 1024 < 6000 or peak == before  # of the largest child, which another test may have had
