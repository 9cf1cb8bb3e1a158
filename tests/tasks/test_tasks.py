"""Loaders by name and by a dotted path, and what identifies a task."""

import hashlib
import inspect
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from quantbench import tasks
from quantbench.errors import UserError

MINE = """
from quantbench.tasks import synthetic

def load(*, samples, calibration_samples=2, seed=0, path=None):
    return synthetic.load(samples=samples, calibration_samples=calibration_samples, seed=seed)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of one's own with a loader."""
    (tmp_path / "my_tasks.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_tasks.py"
    sys.modules.pop("my_tasks", None)


def test_a_loader_is_found_by_name_by_its_own_key_and_by_a_dotted_path(mine):
    for choice in (
        {"name": "synthetic", "labels": "x", "sha256": "0"},
        {"name": "noise", "loader": "synthetic"},
        {"name": "mine", "_target_": "my_tasks.load"},
    ):
        assert len(tasks.load({**choice, "samples": 3, "calibration_samples": 2, "seed": 0}).evaluation) == 3


def test_an_option_that_a_loader_does_not_have_names_those_that_it_has():
    with pytest.raises(UserError, match=r"^task=fashion_mnist: .*'shots'; its options are calibration"):
        tasks.load({"name": "fashion_mnist", "shots": 1})


@pytest.mark.parametrize("more", [{}, {"loader": "audio"}, {"_target_": "no.load"}])
def test_a_loader_that_is_not_there(more):
    with pytest.raises(UserError, match=r"^x: "):
        tasks.load({"name": "x", **more})


def test_paths_are_absolute_and_a_folder_that_is_called_as_the_task_is_meant(tmp_path, monkeypatch):
    (tmp_path / "data" / "imagenet").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    inner = {"path": str(tmp_path / "data" / "imagenet")}
    assert tasks.identity({"name": "imagenet", "labels": "x", "path": "data"}) == {"name": "imagenet", **inner}
    mine = {"name": "mine", "loader": "imagenet"}
    assert tasks.identity({**mine, "path": "data/imagenet"}) == tasks.identity({**mine, "path": "data"}) == mine | inner
    assert tasks.identity({"name": "unsupported", "path": None}) == {"name": "unsupported", "path": None}
    assert tasks.identity({"name": "trec", "path": "data"}) == {"name": "trec", "path": os.path.abspath("data")}


def test_a_loader_of_one_s_own_is_identified_by_its_file(mine):
    config = {"_target_": "my_tasks.load", "name": "mine", "samples": 3}
    before = tasks.identity(config)
    assert before == {**config, "sha256": hashlib.sha256(MINE.encode()).hexdigest()}
    mine.write_text(MINE + "# changed")
    assert tasks.identity(config)["sha256"] != before["sha256"]


def test_every_choice_of_ours_fits_its_loader():
    folder = Path(tasks.__file__).parents[2] / "conf" / "task"
    for file in sorted(folder.glob("*.yaml")):
        config = yaml.safe_load(file.read_text())
        if config["name"] != "unsupported":
            loader = import_module(f"quantbench.tasks.{config['name']}").load
            options = {key: value for key, value in config.items() if key not in ("name", "labels")}
            inspect.signature(loader).bind(**options, seed=0)
