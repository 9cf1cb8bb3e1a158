from __future__ import annotations

import itertools
import math
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from quantbench.errors import nearest
from quantbench.sweep.compose import compose_checked, parse_arguments
from quantbench.sweep.groups import conf_folder, defaults, describe, find_groups

ROOT = Path(__file__).resolve().parents[2]
GROUPS = find_groups([conf_folder()])
CHOICES = [(group, choice) for group, choices in GROUPS.items() for choice in choices]


TASKS = {
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


def compose(*arguments: str):
    return compose_checked(parse_arguments(arguments)).config


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_file_composes_and_describes_itself(group, choice):
    config = compose(f"{group}={choice}")
    file = GROUPS[group][choice]
    assert describe(file)
    keys = set(yaml.safe_load(file.read_text())) - {"defaults"}
    if group == "experiment":
        assert keys - {"hydra"} <= set(config)
        return
    if group.startswith("hydra/"):
        assert "_target_" in keys
        return
    assert keys == set(config[group])
    if choice.startswith("percentile_"):
        digits = choice.removeprefix("percentile_").replace("_", ".")
        assert (config.calib.name, config.calib.percentile) == ("percentile", float(digits))
    elif (group, choice) == ("model", "hf"):
        assert config.model.name is None
    elif (group, choice) == ("task", "amazon_queen_short"):
        assert (config.task.name, config.task.clips) == ("amazon_queen", 20)
    elif (group, choice) == ("task", "amazon_queen_letters"):
        assert (config.task.name, config.task.metric) == ("amazon_queen", "cacc")
    elif group != "granularity":
        assert config[group].name == choice


def test_defaults():
    config = compose()
    named = [group for group in defaults() if group not in ("granularity", "experiment")]
    assert {group: config[group].name for group in named} == {
        "task": "fashion_mnist",
        "model": "resnet20_fashion",
        "calib": "max",
        "method": "ptq",
        "backend": "simulate",
        "suite": "desk",
    }
    assert config.granularity.weight == "per_channel"
    assert (config.weight_bits, config.activation_bits, config.mapping, config.seed) == (8, 8, "scale", 0)
    assert "hydra" not in config


@pytest.mark.parametrize("model", GROUPS["model"])
def test_a_model_chooses_its_task_and_the_command_line_wins(model):
    expected = "fashion_mnist" if model.endswith("_fashion") else TASKS.get(model, "imagenet")
    if model.startswith("efficientnet_lite"):
        expected = "imagenet_photos"
    if yaml.safe_load(GROUPS["model"][model].read_text())["family"] == "unsupported":
        expected = "unsupported"
    assert compose(f"model={model}").task.name == expected
    other = next(task for task in GROUPS["task"] if not task.startswith(expected))
    for order in itertools.permutations([f"model={model}", f"task={other}"]):
        assert compose(*order).task.name == other


def test_an_experiment_chooses_a_model_and_so_its_task(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /model: efficientnet_lite0\nweight_bits: 4\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    config = compose("--config-dir", str(tmp_path), "experiment=mine")
    assert (config.model.name, config.task.name, config.weight_bits) == ("efficientnet_lite0", "imagenet_photos", 4)
    assert compose("--config-dir", str(tmp_path), "experiment=mine", "task=imagenet").task.name == "imagenet"


@pytest.mark.parametrize(("table", "cells"), [("table3", 4), ("table4", 1), ("table5", 6)])
@pytest.mark.parametrize(("suite", "networks"), [("desk", 14), ("desk_full", 15), ("paper", 19)])
def test_an_experiment_sweeps_over_the_suite(table, cells, suite, networks):
    composed = compose_checked(parse_arguments(["-m", f"experiment={table}", f"suite={suite}"]))
    params = composed.params
    assert composed.multirun
    assert len(set(params["model"].split(","))) == networks
    assert set(params["model"].split(",")) <= set(GROUPS["model"])
    assert math.prod(len(values.split(",")) for values in params.values()) == networks * cells
    assert composed.config.activations == (table == "table5")
    assert composed.config.limit == (2000 if suite == "desk" else None)


def test_a_key_that_only_the_swept_networks_task_has():
    composed = compose_checked(parse_arguments(["experiment=table4", "suite=paper", "task.path=/data/imagenet"]))
    assert composed.multirun and composed.params["model"].startswith("mobilenet_v1,")
    assert composed.config.model.name == "mobilenet_v1" and composed.config.task.path == "/data/imagenet"
    assert composed.overrides == ["experiment=table4", "suite=paper", "task.path=choice(/data/imagenet)"]
    swept = compose_checked(parse_arguments(["experiment=table4", "suite=paper", "task.path=/a,/b"]))
    assert swept.config.task.path == "/a" and swept.overrides[-1] == "task.path=/a,/b"
    chosen = compose_checked(parse_arguments(["experiment=table4", "task.path=/a", "suite.models='resnet18,resnet50'"]))
    assert chosen.params["model"] == "resnet18,resnet50"
    some = compose_checked(parse_arguments(["experiment=table5", "calib.percentile=99.5"]))
    assert (some.config.calib.name, some.config.calib.percentile) == ("percentile", 99.5)


def test_values_of_a_files_sweep_are_those_of_yaml(tmp_path):
    (tmp_path / "experiment").mkdir()
    params = "limit: null\n      fold_bn: true\n      seed: 1,2\n      skip_layers: [conv1, 'a b']\n      retry: ~"
    text = f"# @package _global_\nlimit: 5\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      {params}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    composed = compose_checked(parse_arguments(["--config-dir", str(tmp_path), "experiment=mine"]))
    assert composed.params == {
        "limit": "null",
        "fold_bn": "true",
        "seed": "1,2",
        "skip_layers": "[conv1,'a b']",
        "retry": "null",
    }
    config = composed.config
    assert (config.limit, config.fold_bn, config.seed, config.retry) == (None, True, 1, None)
    assert config.skip_layers == ["conv1", "a b"]


def test_a_sweep_gives_the_first_configuration():
    composed = compose_checked(parse_arguments(["-m", "weight_bits=4,8", "calib=choice(mse,max)"]))
    assert composed.multirun
    assert (composed.config.weight_bits, composed.config.calib.name) == (4, "mse")


def test_lists_and_globs_are_values():
    assert list(compose("skip_layers=[conv1,layer4.*]").skip_layers) == ["conv1", "layer4.*"]


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
