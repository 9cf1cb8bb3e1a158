"""The float pass takes the path that the quantized one takes."""

from __future__ import annotations

import torch
from torch import nn

from quantbench.networks.network import Network
from quantbench.quant.simulate import simulate
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from quantbench.tasks.task import Sample


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x, src_key_padding_mask=x[..., 0] == 0)


def test_padded_places_of_a_transformer_encoder_are_the_same_in_float_and_simulated():
    torch.manual_seed(0)
    module, x = Masked().eval(), torch.randn(2, 5, 16)
    x[1, 3:] = 0
    network = Network("masked", module, lambda i: [(x[i],)], (x[:1],), "", "")
    inputs = Inputs(network, [Sample(str(i), lambda i=i: i, None) for i in range(2)])
    plain = predict(module, inputs, 2, "cpu", "fp32")
    with simulate(module, {}):
        torch.testing.assert_close(predict(module, inputs, 2, "cpu", "quantized"), plain, rtol=1e-5, atol=1e-5)
