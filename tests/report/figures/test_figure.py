from __future__ import annotations

from pathlib import Path

import matplotlib
from PIL import Image

from quantbench.report.figures.figure import Figure, blank, save, stem, styled
from tests.report.figure_checks import boxes, cut_off, overlapping


def drawn() -> Figure:
    with styled():
        drawing = blank(2.0)
        axes = drawing.subplots()
        axes.plot([0, 1], [0, 1], label="a line")
        axes.set_xlabel("x, with a label")
        axes.fill_between([0, 1], [1, 2], hatch="/")
        drawing.legend(loc="outside upper center")
    return Figure("a_line", "A line", "A line.", "A line from 0 to 1.", drawing)


def test_saves_a_png_of_150_dpi_and_an_svg(tmp_path: Path) -> None:
    png, svg = save(drawn(), tmp_path / "new" / "folder")
    assert (png, svg) == (tmp_path / "new/folder/a_line.png", tmp_path / "new/folder/a_line.svg")
    with Image.open(png) as picture:
        assert picture.size == (1050, 300)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    text = svg.read_text(encoding="utf-8")
    assert "<dc:title>\n    A line\n" in text or "<dc:title>A line</dc:title>" in text
    assert "<dc:date>" not in text
    assert "<text" not in text  # letters are paths: the picture needs no font


def test_long_names_fit_a_file_system_and_stay_different() -> None:
    assert stem("a network (trec)") == "a_network_trec"
    first, second = stem("n" * 300 + "1"), stem("n" * 300 + "2")
    assert first.startswith("n" * 100 + "_") and len(first) == len(second) == 109 and first != second


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    first = save(drawn(), tmp_path / "first")
    figure = drawn()
    save(figure, tmp_path / "second")
    again = save(figure, tmp_path / "second")  # onto itself, too
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == ["a_line.png", "a_line.svg"]


def test_the_users_own_settings_change_nothing_and_are_left_alone(tmp_path: Path) -> None:
    (usual, _) = save(drawn(), tmp_path / "usual")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "none"}):
        (own, _) = save(drawn(), tmp_path / "own")
        assert matplotlib.rcParams["font.size"] == 30
    assert own.read_bytes() == usual.read_bytes()


def test_stems_are_file_names() -> None:
    assert stem("resnet50 (imagenet, 0a1b)") == "resnet50_imagenet_0a1b"
    assert stem("../a/b") == "a_b"
    assert stem("efficientnet_lite0") == "efficientnet_lite0"


def test_the_checks_of_these_tests_see_what_is_cut_off_or_covered() -> None:
    drawing = drawn().drawing
    found = boxes(drawing)
    assert (cut_off(drawing, found), overlapping(found)) == ([], [])
    assert {"x, with a label", "a line", "0.0"} <= {text for text, _ in found}
    drawing.text(0.98, 0.5, "cut off")
    drawing.text(0.5, 0.5, "below")
    drawing.text(0.51, 0.5, "above")
    found = boxes(drawing)
    assert cut_off(drawing, found) == ["cut off"]
    assert overlapping(found) == [("below", "above")]
