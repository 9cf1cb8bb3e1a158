"""A network whose classes are those of the task in another order, and what a run says and keeps of it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from quantbench.cli import main as cli
from quantbench.networks.network import Network

GREYS = {"ant": 30, "bee": 90, "cat": 150, "dog": 220}


class Nearest(nn.Module):
    """Logits by how near the mean grey is to each of some greys."""

    def __init__(self, greys):
        super().__init__()
        greys = torch.tensor(greys, dtype=torch.float32) / 255
        self.fc = nn.Linear(1, len(greys))
        self.fc.weight.data, self.fc.bias.data = 2 * greys[:, None], -(greys**2)

    def forward(self, x):
        return self.fc(x)


def build(*, name, order, named=True, declared=True, seed=0):
    names = tuple(order.split())
    return Network(
        name=name,
        module=Nearest([GREYS.get(one, -1000) for one in names]).eval(),
        preprocess=lambda raw: [(torch.tensor([float(raw.mean()) / 255]),)],
        example=(torch.zeros(1, 1),),
        weights="none",
        preprocessing="mean grey",
        outputs=len(names) if declared else None,
        classes=names if named and declared else None,
    )


@pytest.fixture
def run(folder, monkeypatch, capsys):
    for split in ("val", "train"):
        for name, grey in GREYS.items():
            place = folder / "photos" / split / name
            place.mkdir(parents=True)
            for i in range(3):
                Image.fromarray(np.full((4, 4), grey + i, np.uint8)).save(place / f"{i}.png")
    (folder / "mine" / "model").mkdir(parents=True)
    (folder / "mine" / "model" / "grey.yaml").write_text(
        "# grey\nname: grey\n_target_: tests.run.test_classes_of_folders.build\n"
        "order: ''\nnamed: true\ndeclared: true\n"
    )

    def called(order, *more):
        found = ("task=imagenet", "task.path=photos", "task.classes=4", "task.calibration_samples=4")
        code = cli.main(["run", "--config-dir", "mine", "model=grey", f"model.order='{order}'", *found, *more])
        return code, capsys.readouterr().err

    return called


def record(folder):
    (file,) = (folder / "quantbench-results" / "cells").glob("*.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize("order", ["dog bee ant cat", "background dog bee ant cat", "ant bee cat dog"])
def test_outputs_are_reordered_by_name_which_is_said_and_kept(run, folder, order):
    code, said = run(order)
    found = record(folder)
    assert code == 0 and found["row"]["fp32"] == 100.0
    names = order.split()
    right = [names.index(name) for name in GREYS]
    expected = None if right == [0, 1, 2, 3] else [*right, *({*range(len(names))} - {*right})]
    assert found["order"] == expected
    assert said.count("by name") == len(found["remarks"]) == (expected is not None)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("model.named=false",), "5 outputs (without names), the task imagenet 4 classes (ant, bee, cat, dog)"),
        (("model.declared=false",), "5 outputs without names, the task imagenet 4 classes (ant, bee, cat, dog)"),
    ],
)
def test_a_background_class_that_nothing_names_is_refused(run, folder, more, said):
    code, error = run("background ant bee cat dog", *more)
    assert code == 2 and said in error
    assert record(folder)["row"]["fp32"] is None
