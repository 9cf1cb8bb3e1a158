import struct

import numpy as np
import pytest
import torch

from quantbench import tasks
from quantbench.errors import UserError
from quantbench.tasks.fashion_mnist import load_split, normalize, read_idx


def test_the_splits_are_the_published_ones():
    for split, count in (("train", 60_000), ("test", 10_000)):
        images, labels = load_split(split)
        assert images.shape == (count, 1, 28, 28) and images.dtype == torch.uint8
        assert labels.dtype == torch.int64 and labels.bincount().tolist() == [count // 10] * 10
        if split == "train":
            shares = images.flatten().bincount(minlength=256).double() / images.numel()
            values = torch.arange(256).double() / 255
            mean = float(shares @ values)
            assert mean == pytest.approx(0.2860, abs=5e-5)
            assert float(shares @ (values - mean) ** 2) ** 0.5 == pytest.approx(0.3530, abs=5e-5)
    assert labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


def test_normalize():
    assert torch.equal(normalize(torch.tensor([0, 255], dtype=torch.uint8)), (torch.tensor([0.0, 1.0]) - 0.286) / 0.353)


def test_the_task():
    task = tasks.load({"name": "fashion_mnist", "calibration_samples": 50, "seed": 3})
    assert (task.name, task.metrics[0].name, len(task.evaluation), len(task.calibration)) == (
        "fashion_mnist",
        "top1",
        10_000,
        50,
    )
    images, labels = load_split("test")
    sample = task.evaluation[1234]
    assert sample.id == "test/01234" and sample.target == int(labels[1234])
    assert sample.read().shape == (28, 28, 1) and sample.read().dtype == np.uint8
    assert np.array_equal(sample.read()[:, :, 0], images[1234, 0].numpy())
    ids = [sample.id for sample in task.calibration]
    assert all(name.startswith("train/") for name in ids) and len(set(ids)) == 50
    images, labels = load_split("train")
    index = int(ids[7].removeprefix("train/"))
    assert task.calibration[7].target == int(labels[index])
    assert np.array_equal(task.calibration[7].read()[:, :, 0], images[index, 0].numpy())


def test_calibration_is_nested_and_pinned():
    ids = [s.id for s in tasks.load({"name": "fashion_mnist", "calibration_samples": 4, "seed": 0}).calibration]
    assert ids == ["train/04013", "train/23840", "train/29603", "train/43011"]
    default = tasks.load({"name": "fashion_mnist", "seed": 0}).calibration
    assert len(default) == 1024 and [s.id for s in default[:4]] == ids


@pytest.mark.parametrize("damage", ["magic", "count", "short", "long"])
def test_a_damaged_idx_file(tmp_path, damage):
    good = struct.pack(">IIII", 0x0803, 2, 3, 4) + bytes(range(24))
    path = tmp_path / "some-idx3-ubyte"
    path.write_bytes(good)
    assert read_idx(path, 0x0803, (2, 3, 4))[1, 2, 3] == 23
    bad = {
        "magic": struct.pack(">I", 0x0D03) + good[4:],
        "count": good[:4] + struct.pack(">I", 3) + good[8:],
        "short": good[:-1],
        "long": good + b"\0",
    }
    path.write_bytes(bad[damage])
    with pytest.raises(UserError, match="is not an idx file of 2 x 3 x 4 bytes"):
        read_idx(path, 0x0803, (2, 3, 4))
