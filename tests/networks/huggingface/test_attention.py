import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

from quantbench.errors import UserError
from quantbench.networks.huggingface.attention import visible_attention
from quantbench.quant.layers import find_layers

SIZE = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 30,
}
IDS = torch.tensor([[5, 3, 7, 9, 2]])


def bert(attention: str) -> BertModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(**SIZE, attn_implementation=attention)).eval()


def as_if_loaded_with(network: nn.Module, attention: str) -> nn.Module:
    """The network as it would be where the package of this attention is installed."""
    network.config._attn_implementation_internal = attention
    return network


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3"])
def test_every_attention_shows_the_same_layers_and_gives_the_same_output(attention):
    expected = bert("eager")
    flash = attention.startswith("flash")
    network = as_if_loaded_with(bert("sdpa"), attention) if flash else bert(attention)
    holder = nn.ModuleDict({"inside": network})
    visible_attention(holder)
    assert network.config._attn_implementation == ("eager" if attention == "eager" else "sdpa")
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    assert find_layers(network, IDS, mask) == find_layers(expected, IDS, mask)
    with torch.no_grad():
        one, other = (n(IDS, mask).last_hidden_state for n in (network, expected))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_network_without_sdpa_gets_eager():
    network = as_if_loaded_with(BertModelWithoutSdpa(BertConfig(**SIZE, attn_implementation="eager")), "flex_attention")
    visible_attention(network)
    assert network.config._attn_implementation == "eager"


class BertModelWithoutSdpa(BertModel):
    _supports_sdpa = False


def test_networks_that_need_no_switch_are_left_alone():
    network = MPNetModel(MPNetConfig(**SIZE))
    chosen = network.config._attn_implementation
    visible_attention(network)
    assert network.config._attn_implementation == chosen
    visible_attention(nn.Sequential(nn.Linear(2, 2)))


def test_a_network_that_cannot_be_switched_is_named(monkeypatch):
    network = as_if_loaded_with(bert("eager"), "flash_attention_2")
    monkeypatch.setattr(network, "set_attn_implementation", lambda _: None)
    with pytest.raises(UserError, match=r"^BertModel keeps its attention flash_attention_2, .* load it with"):
        visible_attention(network)
