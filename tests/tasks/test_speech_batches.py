"""Jasper on real speech: neither the size of a batch nor its padding changes what is heard."""

import pytest
import torch

from quantbench import networks, tasks
from quantbench.quant.calibrators import max_range
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import collect
from quantbench.quant.scheme import Scheme, decide
from quantbench.quant.simulate import simulate
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict


@pytest.fixture(scope="module")
def network():
    return networks.load({"name": "jasper_mini", "family": "jasper", "weights": "shipped", "seed": 0})


@pytest.fixture(scope="module")
def clips():
    return tasks.load({"name": "amazon_queen", "calibration_samples": 32, "seed": 0, "clips": 100})


@pytest.fixture(scope="module")
def mappings(network, clips):
    batches = Inputs(network, clips.calibration).batches(16, "cpu", "", padded=False)
    histograms = collect(network.module, (batch for _, batch in batches))
    return decide(find_layers(network.module, *network.example), histograms, max_range, Scheme()).mappings


def test_no_float_transcript_changes(network, clips):
    inputs = Inputs(network, clips.evaluation)
    heard = [inputs.answers(predict(network.module, inputs, size, "cpu", "")) for size in (1, 100)]
    assert heard[0] == heard[1]
    assert sum(map(len, heard[0])) > 1000  # letters


def test_quantized_transcripts_change_only_where_two_symbols_are_nearly_tied(network, clips, mappings):
    inputs = Inputs(network, clips.evaluation)
    with simulate(network.module, mappings):
        outputs = [predict(network.module, inputs, size, "cpu", "") for size in (1, 100)]
    heard = [inputs.answers(found) for found in outputs]
    best = outputs[0].topk(2, -1).values
    margin = (best[..., 0] - best[..., 1]) / outputs[0][outputs[0].any(-1)].std()
    for other, said in zip(outputs[1:], heard[1:], strict=True):
        differs = outputs[0].argmax(-1) != other.argmax(-1)
        assert sum(one != two for one, two in zip(heard[0], said, strict=True)) <= 8  # of 100
        assert (margin[differs] < 0.05).all()
        assert torch.equal(outputs[0].any(-1), other.any(-1))  # as many steps
