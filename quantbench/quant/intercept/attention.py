"""Scaled dot-product attention written as its two matrix multiplications."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale * Q.K^T + mask).V, as torch.nn.functional.scaled_dot_product_attention defines it.

    Args:
        query: float [..., heads, L, E].
        key: float [..., heads, S, E].
        value: float [..., heads, S, Ev].
        attn_mask: bool (True takes part) or float (added), broadcastable to [..., heads, L, S].
        dropout_p: dropout of the attention weights, applied whatever the mode of the module.
        is_causal: mask out the upper triangle.
        scale: factor of the scores; None is 1/sqrt(E).
        enable_gqa: key and value may have fewer heads, each shared by a group of query heads.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scores = torch.matmul(query, key.transpose(-2, -1))
    if scale != 1:  # Whisper scales its queries itself, and to read all scores once more takes time
        scores = scores * (1 / math.sqrt(query.size(-1)) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    weights = torch.softmax(scores, -1)
    if attn_mask is not None:
        # Rows that are masked out whole give zeros, as the fused kernels do.
        weights = weights.masked_fill(scores.amax(-1, keepdim=True) == -math.inf, 0.0)
    return torch.matmul(torch.dropout(weights, dropout_p, dropout_p > 0), value)
