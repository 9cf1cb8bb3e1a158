import numpy as np
import pytest
from PIL import Image

from quantbench import tasks
from quantbench.errors import UserError

WNIDS = ("n01440764", "n01443537", "n02084071")


@pytest.fixture
def folder(tmp_path):
    """Three classes, 4 photos each to train and 2 to validate; the colour says which."""
    for split, count in (("train", 4), ("val", 2)):
        for rank, wnid in enumerate(WNIDS):
            place = tmp_path / split / wnid
            place.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 6), (rank, index, 0)).save(place / f"{wnid}_{index}.JPEG", "PNG")
            (place / "notes.txt").write_text("not a photo")
    (tmp_path / "val" / "README").write_text("not a class")
    return tmp_path


def load(path, **options):
    return tasks.load({"name": "imagenet", "path": path, "classes": 3, "calibration_samples": 5, "seed": 0, **options})


def test_classes_are_the_ranks_of_the_folders(folder):
    task = load(str(folder))
    samples = list(task.evaluation)
    assert [sample.target for sample in samples] == [0, 0, 1, 1, 2, 2]
    assert samples[3].id == "val/n01443537/n01443537_1.JPEG"
    assert samples[3].read().shape == (6, 8, 3) and samples[3].read()[0, 0].tolist() == [1, 1, 0]


def test_calibration_comes_from_train(folder):
    task = load(folder)
    assert len(task.calibration) == 5
    assert all(sample.id.startswith("train/") for sample in task.calibration)
    assert all(sample.target == sample.read()[0, 0, 0] for sample in task.calibration)
    assert [s.id for s in load(folder, calibration_samples=2).calibration] == [s.id for s in task.calibration[:2]]
    assert [s.id for s in load(folder, calibration_samples=12).calibration] != [
        s.id for s in load(folder, calibration_samples=12, seed=1).calibration
    ]


def test_photos_are_decoded_on_access(folder):
    (folder / "val" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG").write_bytes(b"damaged")
    task = load(folder)
    assert isinstance(task.evaluation[1].read(), np.ndarray)
    with pytest.raises(UserError, match=r"n01440764_0\.JPEG is not a readable photo"):
        task.evaluation[0].read()


def test_a_class_without_validation_photos_keeps_its_rank(folder):
    for path in (folder / "val" / WNIDS[0]).iterdir():
        path.unlink()
    (folder / "val" / WNIDS[0]).rmdir()
    assert [sample.target for sample in load(folder).evaluation] == [1, 1, 2, 2]


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(UserError, match=r"task\.path=FOLDER.*val/<wnid>/\*\.JPEG.*train/<wnid>"):
        tasks.load({"name": "imagenet", "path": None, "calibration_samples": 5, "seed": 0})
    with pytest.raises(UserError, match=r"no folder .*nowhere/val.*task\.path=FOLDER"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has 3 class folders, not 1000.*task\.classes=3"):
        load(folder, classes=1000)
    with pytest.raises(UserError, match=r"must be from 1 to 12, the number of photos in .*train"):
        load(folder, calibration_samples=13)


def test_an_empty_data_set(folder):
    for path in (folder / "val").glob("*/*.JPEG"):
        path.unlink()
    with pytest.raises(UserError, match="val holds no photos"):
        load(folder)


def test_classes_are_the_names_of_folders_and_what_is_not_read_is_counted(tmp_path):
    for split in ("val", "train"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("L", (4, 4)).save(tmp_path / split / name / "a.png")
    path = {"name": "imagenet", "path": str(tmp_path), "classes": 2, "calibration_samples": 1, "seed": 0}
    assert tasks.load(path).classes == ("cat", "dog") and tasks.load(path).remarks == ()
    (tmp_path / "val" / "cat" / "a.heic").write_bytes(b"")
    (tmp_path / "val" / "cat" / "more").mkdir()
    (tmp_path / "val" / "flat.png").write_bytes(b"")
    (tmp_path / "val" / "cat" / ".DS_Store").write_bytes(b"")
    (said,) = tasks.load(path).remarks
    assert said.startswith(f"3 files or folders of {tmp_path / 'val'} are not read, such as val/cat/a.heic")
