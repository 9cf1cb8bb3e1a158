import re

import numpy as np
import pytest

from quantbench import tasks
from quantbench.errors import UserError
from quantbench.tasks.imagenet_photos import label


@pytest.fixture(scope="module")
def task():
    return tasks.load({"name": "imagenet_photos", "calibration_samples": 60, "seed": 0})


def photo(sample):
    return sample.id.partition("@")[0]


def test_the_evaluation_set(task):
    assert len(task.evaluation) == 180
    samples = list(task.evaluation)
    assert len({sample.id for sample in samples}) == 180
    assert [sample.target for sample in samples[:20]] == [
        *(243, 559, 438, 990, 949, 853, 609, 609, 915, 455),
        *(541, 630, 741, 471, 129, 99, 251, 22, 317, 305),
    ]
    assert all(sample.target is None for sample in samples[20:])
    assert all(sample.read().dtype == np.uint8 and sample.read().shape[2] == 3 for sample in samples)
    assert {photo(s) for s in samples[20:]} == {"astronaut", "chelsea", "coffee", "motorcycle_left"}


def test_crops_are_what_their_ids_say(task):
    from quantbench.assets import fetch
    from quantbench.tasks.sampling import read_photo

    whole = read_photo(fetch("scikit_image_photos") / "coffee.png")
    crops = [sample for sample in task.evaluation[20:] if photo(sample) == "coffee"]
    assert len(crops) == 40
    for sample in crops:
        x, y, width, height = map(int, re.fullmatch(r"coffee@(\d+),(\d+),(\d+)x(\d+)", sample.id).groups())
        assert np.array_equal(sample.read(), whole[y : y + height, x : x + width])
        assert sample.read().shape == (height, width, 3)
        assert min(width, height) >= 200 and max(width, height) <= 4 / 3 * min(width, height)


def test_calibration_and_evaluation_share_no_photo(task):
    assert not {photo(s) for s in task.calibration} & {photo(s) for s in task.evaluation}
    assert {photo(s) for s in task.calibration} == {"china", "flower", "grace_hopper", "rocket"}


def test_the_seed_draws_the_calibration_and_nothing_else(task):
    ids = [sample.id for sample in task.calibration]
    assert ids[:3] == ["china@65,1,428x393", "flower@275,139,217x275", "grace_hopper@44,132,443x357"]
    again = tasks.load({"name": "imagenet_photos", "calibration_samples": 100, "seed": 0})
    assert [sample.id for sample in again.calibration[:60]] == ids
    other = tasks.load({"name": "imagenet_photos", "calibration_samples": 60, "seed": 1})
    assert [sample.id for sample in other.calibration] != ids
    assert [sample.id for sample in other.evaluation] == [sample.id for sample in task.evaluation]
    assert len(tasks.load({"name": "imagenet_photos", "seed": 0}).calibration) == 256


def test_labels_come_from_names():
    assert label("imagenet_15_99.jpg") == 99
    with pytest.raises(ValueError, match="no class index"):
        label("imagenet_15.jpg")


def test_no_calibration_samples():
    with pytest.raises(UserError, match="calibration_samples=0"):
        tasks.load({"name": "imagenet_photos", "calibration_samples": 0, "seed": 0})
