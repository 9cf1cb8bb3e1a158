import pytest

from quantbench.report.published import Counterpart, counterparts, is_metric, paper_folder, published
from quantbench.report.tables.table import CONFIDENCES


def test_a_published_figure_has_its_value_and_confidence():
    figure = published("5")["Inception v4", "max"]
    assert (figure.value, figure.number, figure.confidence) == ("0.12", 0.12, "corroborated")
    assert published("2")["ResNet50 v1.5", "fp32"].note == "torchvision 76.15"


def test_words_are_no_numbers():
    assert published("2")["GNMT", "metric"].value == "BLEU"
    assert published("2")["GNMT", "metric"].number is None


def test_an_unknown_table_has_no_figures():
    assert published("11") == {}


def test_counterparts_are_in_the_order_of_the_paper():
    assert list(counterparts())[:3] == ["mobilenet_v1", "mobilenet_v2", "resnet50"]
    assert counterparts()["resnet50"] == Counterpart(
        "resnet50", "ResNet50 v1.5", "same", "IMAGENET1K_V1", 50_000, 0.2, "the paper took torchvision's weights"
    )
    family = counterparts()["efficientnet_lite0"]
    assert (family.relation, family.samples, family.tolerance) == ("family", None, None)


def test_every_counterpart_has_published_figures_of_known_confidence():
    names = {network for network, _ in published("5")}
    assert {counterpart.network for counterpart in counterparts().values()} <= names
    figures = [figure for table in "2345" for figure in published(table).values()]
    assert {figure.confidence for figure in figures} <= set(CONFIDENCES)


def test_an_installed_package_has_the_figures_inside(tmp_path, monkeypatch):
    (tmp_path / "quantbench" / "paper").mkdir(parents=True)
    monkeypatch.setattr(
        "quantbench.report.published.__file__", str(tmp_path / "quantbench" / "report" / "published.py")
    )
    assert paper_folder() == tmp_path / "quantbench" / "paper"
    (tmp_path / "quantbench" / "paper").rmdir()
    assert paper_folder() == tmp_path / "results" / "paper"


@pytest.mark.parametrize(
    "ours, published, same",
    [
        ("top1", "Top1", True),
        ("exact_match", "Exact match", True),
        ("wacc", "WAcc (=100-WER; WER 3.91)", True),
        ("cacc", "WAcc (=100-WER; WER 3.91)", False),
        (None, "Top1", False),
    ],
)
def test_the_papers_way_to_write_a_metric(ours, published, same):
    assert is_metric(ours, published) is same
