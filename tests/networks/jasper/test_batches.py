"""Jasper on real speech: neither the size of a batch nor its padding changes what is heard."""

import pytest
import torch

from quantbench import networks, tasks
from quantbench.quant.simulate import simulate
from quantbench.run.inputs import Inputs
from quantbench.run.predict import predict
from tests.calibration import max_mappings

CLIPS = 24


@pytest.fixture(scope="module")
def network():
    return networks.load({"name": "jasper_mini", "family": "jasper", "weights": "shipped", "seed": 0})


@pytest.fixture(scope="module")
def clips():
    return tasks.load({"name": "amazon_queen", "calibration_samples": 16, "seed": 0, "clips": CLIPS})


@pytest.fixture(scope="module")
def mappings(network, clips):
    batches = Inputs(network, clips.calibration).batches(16, "cpu", "", padded=False)
    return max_mappings(network.module, network.example, (batch for _, batch in batches))


def test_no_float_transcript_changes(network, clips):
    inputs = Inputs(network, clips.evaluation)
    heard = [inputs.answers(predict(network.module, inputs, size, "cpu", "")) for size in (1, CLIPS)]
    assert heard[0] == heard[1]
    assert sum(map(len, heard[0])) > 200  # letters


def test_quantized_transcripts_change_only_where_two_symbols_are_nearly_tied(network, clips, mappings):
    inputs = Inputs(network, clips.evaluation)
    with simulate(network.module, mappings):
        outputs = [predict(network.module, inputs, size, "cpu", "") for size in (1, CLIPS)]
    heard = [inputs.answers(found) for found in outputs]
    best = outputs[0].topk(2, -1).values
    margin = (best[..., 0] - best[..., 1]) / outputs[0][outputs[0].any(-1)].std()
    for other, said in zip(outputs[1:], heard[1:], strict=True):
        differs = outputs[0].argmax(-1) != other.argmax(-1)
        assert sum(one != two for one, two in zip(heard[0], said, strict=True)) <= CLIPS // 12
        assert (margin[differs] < 0.05).all()
        assert torch.equal(outputs[0].any(-1), other.any(-1))  # as many steps
