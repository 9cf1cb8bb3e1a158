"""Tiny random networks of the transformers library, as modules of plain tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

IDS = torch.tensor([[5, 3, 7, 9, 2], [4, 8, 6, 2, 1]])
PADDED = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


class ByName(nn.Module):
    """A network that takes its inputs by name, as transformers' do, called with them in order."""

    def __init__(self, network: nn.Module, names: list[str], output: str) -> None:
        super().__init__()
        self.network, self.names, self.output = network.eval(), names, output

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.network(**dict(zip(self.names, inputs, strict=True))), self.output)


def bert(attention: str, layers: int = 1, heads: int = 2) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        **_size(layers, heads), vocab_size=30, intermediate_size=16, attn_implementation=attention, hidden_act="gelu"
    )
    return _named(BertModel(config), {"input_ids": IDS, "attention_mask": PADDED})


def mpnet(attention: str = "eager") -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import MPNetConfig, MPNetModel

    config = MPNetConfig(**_size(1, 2), vocab_size=30, intermediate_size=16, attn_implementation=attention)
    return _named(MPNetModel(config), {"input_ids": IDS, "attention_mask": PADDED})


def vit(attention: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(**_size(1, 2), intermediate_size=16, image_size=8, patch_size=4, attn_implementation=attention)
    return _named(ViTModel(config), {"pixel_values": torch.randn(2, 3, 8, 8)})


def gpt2(attention: str, heads: int = 2) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=30,
        n_embd=8,
        n_layer=1,
        n_head=heads,
        n_positions=16,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation=attention,
    )
    return _named(GPT2Model(config), {"input_ids": IDS, "attention_mask": PADDED})


def t5(attention: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=30,
        d_model=8,
        d_kv=4,
        d_ff=16,
        num_layers=1,
        num_heads=1,
        decoder_start_token_id=0,
        attn_implementation=attention,
    )
    inputs = {"input_ids": IDS, "attention_mask": PADDED, "decoder_input_ids": IDS}
    return _named(T5ForConditionalGeneration(config), inputs, "logits")


def whisper(attention: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=30,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=4,
        max_source_positions=10,
        max_target_positions=10,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        attn_implementation=attention,
    )
    inputs = {"input_features": torch.randn(2, 4, 20), "decoder_input_ids": IDS}
    return _named(WhisperForConditionalGeneration(config), inputs, "logits")


def _size(layers: int, heads: int) -> dict[str, int]:
    return {"hidden_size": 8, "num_hidden_layers": layers, "num_attention_heads": heads}


def _named(
    network: nn.Module, inputs: dict[str, Tensor], output: str = "last_hidden_state"
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network with weights so large that what is quantized shows, and its inputs."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return ByName(network, list(inputs), output), tuple(inputs.values())


NETWORKS: dict[str, Any] = {"bert": bert, "vit": vit, "gpt2": gpt2, "t5": t5, "whisper": whisper}
