import math

import numpy as np
import pytest
import torch
from PIL import Image

from quantbench.errors import UserError
from quantbench.tasks.metrics.classification import predicted_class, top1
from quantbench.tasks.sampling import draw, read_photo


def test_top1_by_hand():
    outputs = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, 0.0, 5.0]])
    scores = top1(outputs, [1, 2, None])
    assert scores.dtype == np.float64
    assert scores[:2].tolist() == [100.0, 0.0] and math.isnan(scores[2])


def test_the_first_of_equal_logits_counts_and_nan_is_wrong():
    outputs = torch.tensor([[1.0, 1.0, 0.0], [float("nan"), 0.0, 0.0]])
    assert predicted_class(outputs) == [0, -1]
    assert top1(outputs, [0, 0]).tolist() == [100.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_all_float_types(dtype):
    assert top1(torch.eye(3, dtype=dtype), [0, 1, 1]).tolist() == [100.0, 100.0, 0.0]


@pytest.mark.parametrize("target", [3, -1])
def test_a_label_outside_the_classes_is_named(target):
    with pytest.raises(UserError, match=rf"sample 1 has the label {target}, but the network has 3 classes"):
        top1(torch.zeros(2, 3), [0, target])


def test_no_samples():
    with pytest.raises(UserError, match="empty"):
        top1(torch.zeros(0, 3), [])


def test_draws_are_nested_and_differ_by_seed():
    large = draw(1000, 500, 7, "photos")
    assert draw(1000, 20, 7, "photos") == large[:20]
    assert len(set(large)) == 500 and set(large) <= set(range(1000))
    assert draw(1000, 500, 8, "photos") != large


@pytest.mark.parametrize("count", [0, -1, 11])
def test_a_draw_that_cannot_be(count):
    with pytest.raises(UserError, match=rf"calibration_samples={count} must be from 1 to 10"):
        draw(10, count, 0, "photos")


def test_photos_become_rgb(tmp_path):
    Image.new("L", (5, 4), 7).save(tmp_path / "grey.png")
    photo = read_photo(tmp_path / "grey.png")
    assert photo.shape == (4, 5, 3) and photo.dtype == np.uint8 and (photo == 7).all()


def test_a_truncated_photo_is_named(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"cut\.jpg is not a readable photo"):
        read_photo(path)
