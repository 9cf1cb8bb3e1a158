"""The files of conf/: each composes once, alone; a model brings its task; the documents say what is there."""

from __future__ import annotations

import itertools
import runpy
import sys
from pathlib import Path

import pytest

from quantbench.errors import nearest
from quantbench.sweep.compose import compose_one
from quantbench.sweep.groups import conf_folder, defaults, describe, find_groups, load_yaml

ROOT = Path(__file__).resolve().parents[2]
GROUPS = find_groups([conf_folder()])
CHOICES = [(group, choice) for group, choices in GROUPS.items() for choice in choices]
NAMES_OF_ANOTHER = {"amazon_queen_short": "amazon_queen", "amazon_queen_letters": "amazon_queen", "hf": None}
TASKS = {  # of the networks that are not torchvision's
    "bert_base": "squad",
    "bert_large": "squad",
    "hf": "synthetic",
    "jasper": "librispeech",
    "jasper_mini": "amazon_queen",
    "minilm_sentiment": "movie_sentences",
    "minilm_similarity": "lee_news",
    "minilm_trec": "trec",
    "mpnet_similarity": "lee_news",
    "quartznet15x5": "librispeech",
    "whisper_tiny_en": "amazon_queen",
}


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_file_composes_and_describes_itself(group, choice):
    file = GROUPS[group][choice]
    assert describe(file)
    config = compose_one([f"{group}={choice}", "hydra.mode=RUN"], "a test")
    keys = set(load_yaml(file)) - {"defaults"}
    if group == "experiment":
        assert keys - {"hydra"} <= set(config)
    elif group.startswith("hydra/"):
        assert "_target_" in keys
    else:
        assert keys == set(config[group])
        name = "percentile" if choice.startswith("percentile_") else NAMES_OF_ANOTHER.get(choice, choice)
        assert config[group].name == name
    if group == "model":
        assert config.task.name == _task_of(choice)


def _task_of(model: str) -> str:
    if load_yaml(GROUPS["model"][model])["family"] == "unsupported":
        return "unsupported"
    if model.endswith("_fashion"):
        return "fashion_mnist"
    return TASKS.get(model, "imagenet_photos" if model.startswith("efficientnet_lite") else "imagenet")


@pytest.mark.parametrize("choice", [name for name in GROUPS["calib"] if name.startswith("percentile_")])
def test_a_named_percentile_is_that_percentile(choice):
    digits = choice.removeprefix("percentile_").replace("_", ".")
    assert load_yaml(GROUPS["calib"][choice])["percentile"] == float(digits)


def test_defaults(settings):
    found = settings()
    named = [group for group in defaults() if group != "experiment"]
    assert {group: getattr(found, group)["name"] for group in named} == {
        "task": "fashion_mnist",
        "model": "resnet20_fashion",
        "calib": "max",
        "granularity": "per_channel",
        "method": "ptq",
        "backend": "simulate",
        "suite": "desk",
    }
    assert (found.weight_bits, found.activation_bits, found.mapping, found.seed) == (8, 8, "scale", 0)


def test_a_task_on_the_command_line_wins_over_that_of_the_model():
    for order in itertools.permutations(["model=efficientnet_lite0", "task=imagenet"]):
        assert compose_one(order, "a test").task.name == "imagenet"


def test_an_experiment_chooses_a_model_and_so_its_task(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /model: efficientnet_lite0\nweight_bits: 4\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    config = compose_one(["--config-dir", str(tmp_path), "experiment=mine"], "a test")
    assert (config.model.name, config.task.name, config.weight_bits) == ("efficientnet_lite0", "imagenet_photos", 4)


@pytest.mark.parametrize(("suite", "networks"), [("desk", 14), ("desk_full", 15), ("paper", 19)])
def test_a_suite_names_networks_that_there_are(suite, networks):
    models = load_yaml(GROUPS["suite"][suite])["models"].split(",")
    assert len(set(models)) == networks
    assert set(models) <= set(GROUPS["model"])


def test_nearest():
    assert nearest("entrpy", ["max", "entropy"]) == "did you mean entropy?"
    assert nearest("x", ["max", "entropy"]) == "there are: entropy, max"
    assert nearest("x", []) == "there are none"


@pytest.mark.parametrize("script", ["override_table.py", "readme_tables.py", "result_tables.py"])
def test_what_the_documents_take_from_elsewhere_is_current(monkeypatch, script):
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    with pytest.raises(SystemExit) as leave:
        runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
    assert not leave.value.code, leave.value.code
