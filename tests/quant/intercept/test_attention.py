"""Whichever way attention is computed, its two products are the same layers, or it is refused."""

from __future__ import annotations

import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantbench.quant import QuantizationError
from quantbench.quant.layers import find_layers
from quantbench.quant.simulate import simulate
from tests.quant.helpers import Function, mappings_for, names, sites
from tests.quant.transformers_networks import NETWORKS, mpnet

ATTENTION = {
    "bert": ["encoder.layer.0.attention.self"],
    "vit": ["layers.0.attention"],
    "gpt2": ["h.0.attn"],
    "t5": [
        "encoder.block.0.layer.0.SelfAttention",
        "decoder.block.0.layer.0.SelfAttention",
        "decoder.block.0.layer.1.EncDecAttention",
    ],
    "whisper": [
        "model.encoder.layers.0.self_attn",
        "model.decoder.layers.0.self_attn",
        "model.decoder.layers.0.encoder_attn",
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_eager_and_sdpa_are_one_network(name):
    (eager, inputs), (sdpa, _) = NETWORKS[name]("eager"), NETWORKS[name]("sdpa")
    sdpa.load_state_dict(eager.state_dict())
    layers = find_layers(eager, *inputs)
    assert layers == find_layers(sdpa, *inputs)
    products = [layer for layer in layers if layer.kind == "matmul" and layer.sites[1].weight is None]
    assert [layer.name for layer in products] == [
        f"network.{place}.matmul_{i}" for place in ATTENTION[name] for i in (0, 1)
    ]
    mappings = mappings_for(eager, *inputs)
    assert mappings.keys() == mappings_for(sdpa, *inputs).keys()
    with torch.no_grad():
        torch.testing.assert_close(eager(*inputs), sdpa(*inputs), rtol=1e-5, atol=1e-5)
        with simulate(eager, mappings):
            quantized = eager(*inputs)
        with simulate(sdpa, mappings):
            torch.testing.assert_close(sdpa(*inputs), quantized, rtol=1e-4, atol=1e-4)
        assert (quantized - eager(*inputs)).abs().max() > 1e-3


@pytest.mark.parametrize("network", [*NETWORKS.values(), mpnet])
def test_every_linear_layer_and_convolution_is_seen(network):
    module, inputs = network("eager")
    owners = {
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d) or type(part).__name__ == "Conv1D"
    }
    owners -= {"network.pooler.dense"} if network is not mpnet else set()
    seen = {layer.name for layer in find_layers(module, *inputs) if any(s.weight is not None for s in layer.sites)}
    assert owners <= seen


def test_mpnet_shows_its_attention():
    module, inputs = mpnet()
    found = [layer for layer in find_layers(module, *inputs) if layer.kind == "matmul"]
    assert [layer.name for layer in found] == [f"network.encoder.layer.0.attention.attn.matmul_{i}" for i in (0, 1)]
    assert sites(found[0]) == [f"network.encoder.layer.0.attention.attn.matmul_0.{side}" for side in ("lhs", "rhs")]


Q = torch.randn(1, 2, 16, 8)


def flex(q):
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, q, q)


FUSED = {
    "scaled_dot_product_attention": lambda q: torch.ops.aten.scaled_dot_product_attention(q, q, q),
    "_scaled_dot_product_flash_attention_for_cpu": lambda q: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, q, q
    )[0],
    "flex_attention": flex,
}


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", FUSED)
def test_a_fused_kernel_is_refused_by_name(name):
    module = nn.Sequential(Function(lambda s, q: FUSED[name](q)))
    with pytest.raises(QuantizationError, match=r"attention\w* in module '0' cannot be quantized: .* sdpa or eager"):
        find_layers(module, Q)


@pytest.mark.parametrize("name", ["_flash_attn_forward", "_efficient_attention_forward"])
def test_a_fused_kernel_of_a_package_is_refused(name):
    library = torch.library.Library("quantbench_test", "FRAGMENT")
    library.define(f"{name}(Tensor q) -> Tensor")
    library.impl(name, lambda q: q.clone(), "CompositeExplicitAutograd")
    module = nn.Sequential(Function(lambda s, q: getattr(torch.ops.quantbench_test, name)(q)))
    with pytest.raises(QuantizationError, match=f"{name} in module '0' cannot be quantized"):
        find_layers(module, Q)


@pytest.mark.filterwarnings("ignore:_compile flag on create_block_mask")
def test_flex_attention_of_transformers_is_refused_with_advice():
    module, inputs = NETWORKS["bert"]("flex_attention")
    with pytest.raises(QuantizationError, match=r"attention\.self' cannot be quantized: .* choose .* sdpa or eager"):
        find_layers(module, *inputs)


def test_fused_attention_with_torch_s_module_has_the_names_of_its_functions():
    module = nn.ModuleDict({"a": nn.MultiheadAttention(8, 2, batch_first=True)}).eval()
    module.forward = types.MethodType(lambda self, x: self["a"](x, x, x)[0], module)
    assert names(module, torch.randn(1, 3, 8)) == ["a.linear_0", "a.matmul_0", "a.matmul_1", "a.out_proj"]
    functional = Function(lambda s, q: F.scaled_dot_product_attention(q, q, q))
    assert names(functional, Q) == ["matmul_0", "matmul_1"]
