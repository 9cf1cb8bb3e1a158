from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantbench.quant import QuantizationError
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.observe import observe
from quantbench.quant.transforms.gelu import _Clipping, clip_gelu
from tests.quant.helpers import Function, hooks_of
from tests.quant.transformers_networks import bert, gpt2, vit

X = torch.tensor([[-3.0, -0.5, 0.0, 1.0, 9.9, 10.5, 400.0]])


def transformers_activation(name):
    from transformers.activations import ACT2FN

    return ACT2FN[name]


FORMS = {
    "F.gelu": lambda: Function(lambda s, x: F.gelu(x)),
    "tanh": lambda: Function(lambda s, x: F.gelu(x, approximate="tanh")),
    "torch._C._nn.gelu": lambda: Function(lambda s, x: torch._C._nn.gelu(x)),
    "in place": lambda: Function(lambda s, x: torch._C._nn.gelu_(x + 0)),
    "aten": lambda: Function(lambda s, x: torch.ops.aten.gelu(x)),
    "nn.GELU": nn.GELU,
    "nn.GELU tanh": lambda: nn.GELU("tanh"),
    **{
        name: lambda name=name: transformers_activation(name)
        for name in (
            *("gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh"),
            *("gelu_accurate", "quick_gelu"),
        )
    },
}


@pytest.mark.parametrize("bound", [1, 10.0, 12.5])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_clipped_from_above_and_nothing_else_changes(form, bound):
    module = nn.Sequential(FORMS[form]())
    plain = module(X)
    with clip_gelu(module, bound):
        clipped = module(X)
    assert torch.equal(clipped, plain.clamp(max=bound))
    assert clipped[0, 0] < 0
    assert torch.equal(module(X), plain)
    assert hooks_of(module) == 0


def test_null_leaves_everything():
    module = nn.Sequential(nn.GELU())
    with clip_gelu(module, None):
        assert hooks_of(module) == 0
        assert torch.equal(module(X), F.gelu(X))


@pytest.mark.parametrize("name", ["nn.GELU", "gelu", "gelu_new", "quick_gelu"])
def test_an_output_is_clipped_once(name, monkeypatch):
    module, calls = nn.Sequential(FORMS[name]()), []
    clip = _Clipping.clip
    monkeypatch.setattr(_Clipping, "clip", lambda self, output: (calls.append(output), clip(self, output))[1])
    with clip_gelu(module, 10):
        module(X)
    assert len(calls) == 1


def test_a_block_that_has_gelu_in_its_name_but_layers_of_its_own_is_not_clipped():
    class GELUBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(7, 7)

        def forward(self, x):
            return 100 + self.linear(F.gelu(x))

    module = GELUBlock()
    with clip_gelu(module, 10):
        clipped = module(X)
    torch.testing.assert_close(clipped, 100 + module.linear(F.gelu(X).clamp(max=10)))


@pytest.mark.parametrize("module", [nn.ReLU(), nn.SiLU(), nn.Linear(7, 2)])
def test_a_network_without_gelu_is_an_error(module):
    said = r"^gelu_bound=10: the network runs no GELU .*; leave it null$"
    with pytest.raises(QuantizationError, match=said), clip_gelu(module, 10.0):
        module(X)
    assert hooks_of(module) == 0


def test_an_error_of_the_network_itself_is_the_one_that_is_seen():
    module = Function(lambda s, x: x.nonsense())
    with pytest.raises(AttributeError), clip_gelu(module, 10.0):
        module(X)


def test_gradients_are_those_of_the_clipped_function():
    x = torch.tensor([0.0, 30.0], requires_grad=True)
    with clip_gelu(module := nn.GELU(), 10):
        module(x).sum().backward()
    assert x.grad.tolist() == [0.5, 0.0]


@pytest.mark.parametrize("residual_adds", [False, True])
@pytest.mark.parametrize("network, count", [(bert, 1), (gpt2, 1), (vit, 1)])
def test_layers_see_the_clipped_output(network, count, residual_adds):
    module, inputs = network("sdpa")
    name = {bert: "encoder.layer.0.output.dense.input", gpt2: "h.0.mlp.c_proj.lhs", vit: "layers.0.mlp.fc2.input"}
    site, highest = f"network.{name[network]}", []
    for bound in (None, 0.25):
        with torch.no_grad(), clip_gelu(module, bound), observe(module, residual_adds=residual_adds) as counters:
            module(*inputs)
        highest.append(counters[site].histogram().high)
    assert highest[0] > 0.25
    assert highest[1] == 0.25


def test_clipping_works_on_either_side_of_an_intercept():
    module = nn.Sequential(nn.GELU(), nn.Identity())
    expected = F.gelu(X).clamp(max=10)
    with clip_gelu(module, 10), intercept(module, lambda call: call.run()):
        assert torch.equal(module(X), expected)
    with intercept(module, lambda call: call.run()), clip_gelu(module, 10):
        assert torch.equal(module(X), expected)


def test_the_fast_path_of_torch_s_encoder_is_clipped_too():
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu").eval()
    x = torch.randn(2, 3, 8)
    with torch.inference_mode(), clip_gelu(module, 0.01):
        clipped = module(x)
    module.activation = lambda h: F.gelu(h).clamp(max=0.01)
    module.activation_relu_or_gelu = 0
    with torch.no_grad():
        torch.testing.assert_close(clipped, module(x))
