from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import torch

from quantbench.cli import inspect as inspect_command
from quantbench.cli import main as cli
from tests.shared import refused


@dataclass(frozen=True)
class Site:
    operand: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    sites: tuple[Site, ...]
    parameters: int
    macs: int


LAYERS = [
    Layer("stem.conv", "conv2d", (Site("input", (1, 3, 8, 8)), Site("weight", (4, 3, 3, 3))), 112, 6912),
    Layer("encoder." * 12 + "matmul_0", "matmul", (Site("lhs", (1, 8, 8)), Site("rhs", (1, 8, 8))), 0, 512),
]


def test_inspect_prints_every_layer(monkeypatch, capsys):
    network = types.SimpleNamespace(module=torch.nn.Conv2d(3, 4, 3), example=(torch.zeros(1, 3, 8, 8),))
    layers = types.SimpleNamespace(find_layers=lambda module, *example, residual_adds: LAYERS)
    seen = []
    networks = types.SimpleNamespace(load=lambda config: seen.append((config["weights"], config["seed"])) or network)
    monkeypatch.setitem(sys.modules, "quantbench.networks", networks)
    monkeypatch.setitem(sys.modules, "quantbench.quant.layers", layers)
    assert cli.main(["inspect", "model=resnet18", "model.weights=random"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert seen == [("random", 0)]
    assert lines[1].split() == ["stem.conv", "conv2d", "input", "1x3x8x8,", "weight", "4x3x3x3", "112", "6,912"]
    assert lines[2].startswith("encoder." * 12 + "matmul_0")
    assert lines[-1] == "2 layers, 4 sites, 112 parameters, 7.4e-06 G MACs"


def test_inspect_refuses_like_run(capsys):
    assert "leave out -m" in refused(capsys, "inspect", "-m", "model=resnet18,resnet50")


def test_totals_are_in_giga():
    big = Layer("a", "linear", (), 0, 1_819_066_368)
    assert inspect_command.totals([big], 11_689_512) == "1 layers, 0 sites, 11689512 parameters, 1.82 G MACs"
    assert inspect_command.totals([Layer("a", "linear", (), 0, 40_600_000)], 1).endswith("0.041 G MACs")
