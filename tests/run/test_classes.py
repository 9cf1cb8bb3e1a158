"""Classes of a network and of a task: by name where both have names, else by number, else a refusal."""

import pytest
import torch
from torchvision import models

from quantbench import tasks
from quantbench.errors import UserError
from quantbench.networks.network import Network
from quantbench.run.classes import Match, check_width, imagenet_classes, match
from quantbench.tasks.task import Task

WNIDS = tuple(name.split(", ")[0] for name in imagenet_classes())
CATEGORIES = tuple(models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def network(classes=None, outputs=None, **more):
    count = outputs or (len(classes) if classes else None)
    return Network(
        "net", torch.nn.Identity(), lambda raw: [], (torch.zeros(1),), "w", "p", outputs=count, classes=classes, **more
    )


def task(classes):
    return Task("animals", (), (), (), None, classes=classes)


@pytest.mark.parametrize(
    ("answered", "asked", "order"),
    [
        (("cat", "dog"), ("cat", "dog"), None),
        (("DOG", "Cat"), ("cat", "dog"), (1, 0)),
        (("guinea_pig", "owl"), ("owl", "Guinea Pig"), (1, 0)),
        (("owl, strix", "cat, tabby"), ("tabby", "owl"), (1, 0)),
        (("DESC", "ABBR"), ("abbreviation, ABBR", "description, DESC"), (1, 0)),
        (("LABEL_0", "LABEL_1"), ("cat", "dog"), None),
        (("0", "1"), ("cat", "dog"), None),
        (("cat", "dog"), ("0", "1"), None),
        (("background", "cat", "dog"), ("cat", "dog"), (1, 2, 0)),
        (("cat", "dog", "background"), ("cat", "dog"), (0, 1, 2)),
        (("cat", "owl", "dog"), ("dog", "cat"), (2, 0, 1)),
        (tuple(map(str, range(12))), tuple(sorted(map(str, range(12)))), (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)),
        (tuple("abcdefghijkl"), tuple(sorted(map(str, range(12)))), (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)),
    ],
)
def test_the_order_of_the_outputs(answered, asked, order):
    found = match(network(answered), task(asked))
    assert found.order == order and bool(found.remark) == (order is not None)


@pytest.mark.parametrize(
    ("answered", "asked", "said"),
    [
        (("contradiction", "neutral"), ("cat", "dog"), r"2 outputs \(contradiction, neutral\).*2 classes \(cat, dog\)"),
        (("cat", "dog"), ("cat", "owl"), r"\(cat, dog\).*\(cat, owl\)"),
        (("cat",), ("cat", "dog"), r"1 outputs \(cat\)"),
        (("cat", "Cat"), ("cat", "dog"), r"\(cat, Cat\)"),
        (("LABEL_1", "LABEL_0"), ("cat", "dog"), r"\(LABEL_1, LABEL_0\)"),
        (("cat", "dog"), ("1", "2"), r"\(cat, dog\).*\(1, 2\)"),
        (5, ("a", "b", "c", "d"), r"5 outputs \(without names\).*4 classes \(a, b, c, d\).*background"),
        (3, ("a", "b", "c", "d"), r"3 outputs \(without names\).*4 classes"),
        (9, tuple("abcdefgh"), r"\(a, b, c, d, e, f, \.\.\.\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_lists(answered, asked, said):
    net = network(outputs=answered) if isinstance(answered, int) else network(answered)
    with pytest.raises(UserError, match=said):
        match(net, task(asked))


def test_without_names_numbers_decide():
    assert match(network(outputs=2), task(("cat", "dog"))) == Match()
    assert match(network(outputs=2), task(None)) == Match()
    assert match(network(), task(("cat", "dog"))) == Match()
    assert "ranks of their names as text" in match(network(outputs=11), task(tuple(sorted(map(str, range(11)))))).remark


def test_the_width_of_outputs_that_a_network_says_nothing_of():
    check_width(network(), task(("cat", "dog")), (2,))
    check_width(network(), task(None), (384,))
    check_width(network(decode=lambda raw, outputs: 0), task(("cat", "dog")), (384,))
    for width in ((384,), (3,), (2, 2), ()):
        with pytest.raises(
            UserError, match=r"net has .* outputs without names, the task animals 2 classes \(cat, dog\)"
        ):
            check_width(network(), task(("cat", "dog")), width)
    with pytest.raises(UserError, match="says that it has 2 outputs, but has 3"):
        check_width(network(outputs=2), task(("cat", "dog")), (3,))
    with pytest.raises(UserError, match="3 outputs, but names 2 classes"):
        match(network(("cat", "dog"), outputs=3), task(("cat", "dog")))


def test_imagenet_by_any_of_its_names():
    assert len(WNIDS) == 1000 and WNIDS[0] == "n01440764" and CATEGORIES[0] == "tench"
    for answered in (CATEGORIES, WNIDS, imagenet_classes()):
        assert match(network(answered), task(WNIDS)) == Match()
        assert match(network(answered), task(imagenet_classes())) == Match()
    few = ("n01443537", "n01530575", "n02123045")
    found = match(network(CATEGORIES), task(few))
    assert found.order[:4] == (1, 10, 281, 0) and len(found.order) == 1000 and "among its 1000" in found.remark
    words = tuple(sorted(CATEGORIES))
    assert match(network(CATEGORIES), task(words)).order == tuple(CATEGORIES.index(word) for word in words)
    assert match(network(imagenet_classes()), task(words)).order[:3] == tuple(map(CATEGORIES.index, words[:3]))
    background = match(network(("background", *CATEGORIES)), task(CATEGORIES))
    assert background.order == (*range(1, 1001), 0)
    assert match(network(("background", *CATEGORIES)), task(WNIDS)).order == (*range(1, 1001), 0)


def test_what_the_tasks_ask_for():
    for name, count in (("trec", 6), ("movie_sentences", 2), ("fashion_mnist", 10), ("imagenet_photos", 1000)):
        found = tasks.load({"name": name, "calibration_samples": 8, "seed": 0})
        assert len(found.classes) == count and max(s.target or 0 for s in found.evaluation) < count
    hub = ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM")
    assert match(network(hub), tasks.load({"name": "trec", "calibration_samples": 8, "seed": 0})).order == (
        2, 1, 0, 3, 5, 4,
    )  # fmt: skip
