"""Batches of items of different lengths, with a network in which a padded position is seen at once."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from quantbench.networks.network import Network
from quantbench.quant.observe import collect
from quantbench.run import reference
from quantbench.run.inputs import Inputs
from quantbench.run.memory import OutOfMemory
from quantbench.run.predict import predict
from quantbench.tasks.sampling import reading
from quantbench.tasks.task import Noise, Sample, Task

PADDING = 9
LENGTHS = (5, 1, 3, 5, 2, 8, 3, 1)


class Loud(nn.Module):
    """Sums over the text of two linear layers; all values are small multiples of 1/8, so sums are exact.

    Padding is embedded as 1000.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randint(-8, 9, parameter.shape, generator=generator) / 8
        self.words.weight.data[PADDING] = 1000.0

    def forward(self, ids, mask):
        found = self.second(self.first(self.words(ids)))
        return (found * mask[..., None]).sum(1)


def read(text):
    """One item a word: a text of digits is the tokens themselves."""
    return [(torch.tensor([int(c) for c in word]), torch.ones(len(word), dtype=torch.int64)) for word in text.split()]


def network(module=None, **more):
    module = module or Loud()
    example = (torch.zeros(1, 8, dtype=torch.int64), torch.ones(1, 8, dtype=torch.int64))
    options = {"pad": (float(PADDING), 0.0), **more}
    return Network("loud", module.eval(), read, example, "random:0", "digits", **options)


def samples(*texts):
    return [Sample(f"s{i}", reading(text), None) for i, text in enumerate(texts)]


def texts(seed=0):
    generator = np.random.default_rng(seed)
    return ["".join(map(str, generator.integers(0, 9, length))) for length in LENGTHS]


def lengths(inputs, size, **options):
    """For each batch, the length of each of its items and of all of them with padding."""
    items = [item for sample in inputs.samples for item in read(sample.read())]
    return [
        ([len(items[i][0]) for i in indices], batch[0].shape[1])
        for indices, batch in inputs.batches(size, "cpu", "", **options)
    ]


def test_batches_hold_items_of_similar_length():
    batches = lengths(Inputs(network(), samples(*texts())), 3)
    assert batches == [([1, 1, 2], 2), ([3, 3, 5], 5), ([5, 8], 8)]


def test_without_padding_a_batch_has_one_length():
    batches = lengths(Inputs(network(), samples(*texts(), "111")), 2, padded=False)
    assert batches == [([1, 1], 1), ([2], 2), ([3, 3], 3), ([3], 3), ([5, 5], 5), ([8], 8)]


def test_every_item_is_in_one_batch_and_is_filled_up_with_the_padding():
    given = Inputs(network(), samples(*texts()))
    seen = []
    for indices, (ids, mask) in given.batches(3, "cpu", ""):
        seen += indices
        assert torch.equal(mask == 0, ids == PADDING)
        for index, row in zip(indices, ids, strict=True):
            assert "".join(str(int(i)) for i in row if i != PADDING) == given.samples[index].read()
    assert sorted(seen) == list(range(len(LENGTHS)))


def histograms(monkeypatch, tmp_path, size, calibration):
    """As a cell collects them."""
    monkeypatch.setattr("quantbench.run.cache.cache_folder", lambda: tmp_path / str(size))
    loud = network()
    given = Inputs(loud, calibration)
    task = Task("digits", (), calibration, calibration, None)
    reference.forget()
    found = reference.histograms(
        reference.Reference(loud, task, given, given, size, "cpu", f"key {size}"), False, False, None
    )
    reference.forget()
    return found.result


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_a_calibration_counts_each_text_as_if_it_were_alone(monkeypatch, tmp_path, size):
    calibration = samples(*texts())
    loud = network()
    alone = collect(loud.module, [tuple(t[None] for t in read(s.read())[0]) for s in calibration])
    found = histograms(monkeypatch, tmp_path, size, calibration)
    assert set(found) == set(alone) == {"first.input", "second.input"}
    for site, expected in alone.items():
        assert np.array_equal(found[site].counts, expected.counts), site
        assert np.array_equal(found[site].edges, expected.edges), site
        assert (found[site].low, found[site].high) == (expected.low, expected.high)
        assert found[site].total == sum(LENGTHS) * {"first.input": 4, "second.input": 3}[site]
    assert found["first.input"].high <= 1


def test_padding_would_have_been_seen():
    given = Inputs(network(), samples(*texts()))
    padded = collect(given.network.module, (batch for _, batch in given.batches(3, "cpu", "")))
    assert padded["first.input"].high == 1000


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_outputs_come_in_the_order_of_the_items_whatever_the_batch(size):
    given = Inputs(network(), samples(*texts()))
    module = given.network.module
    with torch.no_grad():
        expected = torch.cat([module(*(t[None] for t in read(s.read())[0])) for s in given.samples])
    assert torch.equal(predict(module, given, size, "cpu", ""), expected)
    assert len(expected.unique(dim=0)) == len(set(texts()))


class Hearing(Loud):
    """Tells padding from text, and adds a `share` of it nevertheless."""

    def __init__(self, share):
        super().__init__()
        self.share, self.runs = share, 0

    def forward(self, ids, mask):
        self.runs += 1
        return super().forward(ids, mask) + self.share * (mask == 0).sum(1, keepdim=True)


@pytest.mark.parametrize(("share", "differs"), [(1.0, True), (1e-2, True), (1e-6, False), (0.0, False)])
def test_a_network_that_reads_padding_runs_items_of_one_length_together(share, differs, capsys):
    module = Hearing(share)
    given = Inputs(network(module), samples(*texts()))
    for _ in range(2):
        outputs = predict(module, given, 3, "cpu", "")
    with torch.no_grad():
        alone = torch.cat([module(*(t[None] for t in read(s.read())[0])) for s in given.samples])
    assert torch.allclose(outputs, alone, rtol=0, atol=1e-4)
    assert all(len(set(found)) == 1 for found, _ in lengths(given, 3)) is differs
    said = capsys.readouterr().err
    assert said.count("\n") == differs
    if differs:
        words = (
            r"^quantbench: loud: its answers depend on what fills up a batch \(by .*% in float\); batches hold items"
        )
        assert re.search(words, said)


def test_whether_a_network_reads_padding_is_asked_once_and_not_of_batches_of_one():
    module = Hearing(0.0)
    given = Inputs(network(module), samples(*texts()))
    list(given.batches(1, "cpu", ""))
    assert module.runs == 0
    for _ in range(3):
        list(given.batches(3, "cpu", ""))
    assert module.runs == 4  # three items of different lengths, and these together
    alike = Inputs(network(Hearing(1.0)), samples("12", "34", "56"))
    assert lengths(alike, 3) == [([2, 2, 2], 2)] and alike.network.module.runs == 0


def test_a_network_that_cannot_be_told_what_is_padding_is_never_given_any(capsys):
    given = Inputs(network(masked=False), samples(*texts()))
    assert all(len(set(found)) == 1 for found, _ in lengths(given, 3))
    assert "loud: it cannot be told what only fills up a batch; batches" in capsys.readouterr().err


def test_a_network_that_refuses_padding_is_given_none(capsys):
    class Refusing(Loud):
        def forward(self, ids, mask):
            if not mask.all():
                raise ValueError("no padding, please")
            return super().forward(ids, mask)

    module = Refusing()
    given = Inputs(network(module), samples(*texts()))
    assert torch.equal(predict(module, given, 3, "cpu", ""), predict(module, given, 1, "cpu", ""))
    assert "it cannot be run on a batch that is filled up (no padding, please); batches" in capsys.readouterr().err


def test_memory_that_runs_out_while_padding_is_tried_makes_batches_smaller():
    class Full(Loud):
        def forward(self, ids, mask):
            if len(ids) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return super().forward(ids, mask)

    given = Inputs(network(Full()), samples(*texts()))
    with pytest.raises(OutOfMemory) as error:
        predict(given.network.module, given, 3, "cpu", "fp32")
    assert error.value.largest == 3


def test_a_sample_may_have_several_items():
    given = Inputs(network(), samples("12 3", "4", "5 12 678"))
    assert given.owned == [[0, 1], [2], [3, 4, 5]]
    assert len(predict(given.network.module, given, 2, "cpu", "")) == 6


def test_an_item_that_occurs_again_is_run_once_but_counts_as_often_in_a_calibration():
    again = ("12 3", "3", "12 3 4")
    kept = Inputs(network(), samples(*again), keep=True)
    assert kept.owned == [[0, 1], [1], [0, 1, 2]]
    assert len(predict(kept.network.module, kept, 2, "cpu", "")) == 3
    assert Inputs(network(), samples(*again)).owned == [[0, 1], [2], [3, 4, 5]]


def test_answers_are_made_of_the_items_of_each_sample():
    counted = network(decode=lambda raw, outputs: (raw, outputs.tolist()))
    given = Inputs(counted, samples("1 2", "2"), keep=True)
    answers = given.answers(torch.tensor([[0.5], [1.5]]))
    assert answers == [("1 2", [[0.5], [1.5]]), ("2", [[1.5]])]
    outputs = torch.zeros(2, 3)
    assert Inputs(network(), samples("1", "2")).answers(outputs) is outputs


def test_noise_is_an_item_of_the_networks_own_kind_and_no_answer():
    def noise(seed):
        return torch.full((8,), seed), torch.ones(8, dtype=torch.int64)

    noisy = network(noise=noise, decode=lambda *_: pytest.fail("noise has no answer"))
    given = Inputs(noisy, [Sample("evaluation/3", reading(Noise(3)), None)])
    ((indices, (ids, _)),) = given.batches(4, "cpu", "")
    assert indices == [0] and ids.tolist() == [[3] * 8]
    outputs = predict(noisy.module, given, 4, "cpu", "")
    assert given.answers(outputs) is outputs
