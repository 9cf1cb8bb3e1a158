import pytest
import torch

from quantbench import tasks
from quantbench.errors import UserError
from quantbench.tasks.synthetic import largest_output
from quantbench.tasks.task import Noise


def test_the_task():
    task = tasks.load({"name": "synthetic", "samples": 3, "calibration_samples": 2, "seed": 0})
    assert task.metrics == ()
    assert [sample.id for sample in task.evaluation] == ["evaluation/0", "evaluation/1", "evaluation/2"]
    assert [sample.read() for sample in task.evaluation] == [Noise(0), Noise(1), Noise(2)]
    assert all(sample.target is None for sample in (*task.evaluation, *task.calibration))


def test_calibration_shares_nothing_with_evaluation_and_follows_the_seed():
    seeds = []
    for seed in range(3):
        task = tasks.load({"name": "synthetic", "samples": 1000, "calibration_samples": 1000, "seed": seed})
        seeds.append({sample.read().seed for sample in task.calibration})
        assert not seeds[-1] & {sample.read().seed for sample in task.evaluation}
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2]


@pytest.mark.parametrize("value", [0, 1.5])
@pytest.mark.parametrize("key", ["samples", "calibration_samples"])
def test_numbers_that_cannot_be(key, value):
    with pytest.raises(UserError, match=rf"^task\.{key}={value}: must be an integer of at least 1$"):
        tasks.load({"name": "synthetic", key: value, "seed": 0})


def test_the_largest_output_of_any_shape():
    assert largest_output(torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0]])) == [1, 0]
    windows = torch.zeros(2, 4, 2)
    windows[0, 3, 1] = windows[1, 2, 0] = 1.0
    assert largest_output(windows) == [7, 4]
