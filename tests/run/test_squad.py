"""SQuAD from the command line, with a network whose answers can be read off the paragraphs."""

import csv
import json
import socket

import pandas as pd
import pytest

from quantbench.assets import huggingface as hub
from quantbench.cli import main as cli
from tests.tiny_language import marked_network

# (start, end): how much each word looks like the start and like the end of an answer; all others like neither.
SCORES = {
    "zebra": (1.6, -0.5),
    "crossing": (-0.5, 1.6),
    "tower": (1.0, 1.0),  # weaker, but both in one
    "amelie": (1.5, 0.0),
    "poulain": (0.0, 1.5),
    "paris": (0.0, 1.5),
    "city": (1.5, 0.0),
    "green": (1.5, -1.0),
    "bridge": (-1.0, 1.5),
    "who": (1.9, 0.0),  # in questions only: the best start of all is no answer
}
WORDS = (*(f"f{i}" for i in range(10)), "the", "of", "old", "?", ".", ",", "(", ")", "long")


def filler(count):
    return " ".join(f"f{i % 10}" for i in range(count))


# With 96 tokens a window, "who ?" leaves 91 to the paragraph; windows start every 16.
CASES = {
    "start": ("who?", f"Zebra crossing {filler(20)}.", ["Zebra crossing"], "Zebra crossing", 100, 100),
    "end": ("who?", f"{filler(150)} zebra crossing", ["the zebra crossing"], "zebra crossing", 100, 100),
    "boundary": (  # words 88 to 93: the first window ends in the middle
        "who?",
        f"{filler(88)} green f1 f2 f3 f4 bridge {filler(60)}",
        ["green f1 f2 f3 f4 bridge"],
        "green f1 f2 f3 f4 bridge",
        100,
        100,
    ),
    # The first "Zebra" is more than 30 words before the only end: the text of the second one is meant.
    "twice": ("who?", f"Zebra {filler(60)} ZEBRA of crossing {filler(9)}", ["zebra"], "ZEBRA of crossing", 0, 50),
    "golds": (
        "who?",
        f"f1 (the city of Paris), {filler(9)}.",
        ["Paris", "The City of Paris"],
        "city of Paris",
        100,
        100,
    ),
    "accents": (
        "who?",
        f"f1 f2  Amélie\u00a0 POULAIN, {filler(5)}",
        ["Amélie Poulain"],
        "Amélie\u00a0 POULAIN",
        100,
        100,
    ),
    # 3 words, 2 of them the gold's: precision 2/3, recall 1.
    "partly": ("who?", f"{filler(9)} green f3 bridge f4", ["f3 bridge"], "green f3 bridge", 0, 80),
    "wrong": ("who?", f"{filler(9)} tower {filler(9)}", ["f1"], "tower", 0, 0),
    # Cut to 64 tokens the question leaves 29: windows begin at 0, 16, 32 and 48. The first has the tower, 1 + 1, only
    # the last one 1.6 + 1.6.
    "long": (
        "long " * 80 + "who?",
        f"f1 tower {filler(70)} zebra f7 crossing f9",
        ["zebra"],
        "zebra f7 crossing",
        0,
        50,
    ),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return marked_network(tmp_path_factory.mktemp("network"), SCORES, WORDS)


@pytest.fixture
def data(tmp_path):
    def article(cases):
        paragraphs = [
            {
                "context": paragraph,
                "qas": [
                    {
                        "id": name,
                        "question": question,
                        "answers": [{"text": text, "answer_start": max(0, paragraph.find(text))} for text in golds],
                    }
                ],
            }
            for name, (question, paragraph, golds, *_) in cases.items()
        ]
        return {"version": "1.1", "data": [{"title": "Test", "paragraphs": paragraphs}]}

    calibration = {
        f"c{i}": (
            "who?",
            f"f{i} zebra tower crossing amelie poulain city paris green bridge {filler(20 + i)}",
            ["tower"],
        )
        for i in range(6)
    }
    (tmp_path / "dev-v1.1.json").write_text(json.dumps(article(CASES)), encoding="utf-8")
    (tmp_path / "train-v1.1.json").write_text(json.dumps(article(calibration)), encoding="utf-8")
    return tmp_path / "dev-v1.1.json"


@pytest.fixture(autouse=True)
def offline(folder, monkeypatch):
    """Its own caches, and nobody to ask."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setattr(hub, "folder_of", lambda *_: pytest.fail("asked the hub"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))


@pytest.mark.parametrize("model", ["hf", "bert_large"])
def test_answers_and_scores_are_those_worked_out_by_hand(network, data, model, capfd):
    named = ["model.name={}", "model.head=question_answering"] if model == "hf" else ["model.path={}"]
    arguments = ["run", f"model={model}", *(text.format(network) for text in named), "task=squad", f"task.path={data}"]
    numbers = [
        "task.calibration_samples=6",
        "model.max_length=96",
        "model.stride=16",
        "batch_size=3",
        "results_dir=out",
    ]
    assert cli.main([*arguments, *numbers]) == 0, capfd.readouterr().err

    with open("out/results.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["status"], row["task"], row["samples"], row["calibration_samples"]) == ("ok", "squad", "9", "6")
    assert (row["metric"], row["secondary_metric"]) == ("f1", "exact_match")
    # (5 * 100 + 50 + 80 + 0 + 50) / 9, and 5 of 9.
    for side in ("fp32", "quantized"):
        assert float(row[side]) == pytest.approx(680 / 9, abs=1e-4)
        assert float(row[f"secondary_{side}"]) == pytest.approx(500 / 9, abs=1e-4)
    assert (float(row["change"]), float(row["secondary_change"]), float(row["agreement"])) == (0, 0, 100)
    assert (row["layers"], row["layers_quantized"]) == ("17", "17")  # two of 6 linear and 2 products, and the last one

    samples = pd.read_csv(next(iter((data.parent / "out/cells").glob("*.csv"))), keep_default_na=False).set_index(
        "sample"
    )
    assert list(samples.index) == list(CASES)
    for name, (_, _, golds, answer, em, f1) in CASES.items():
        found = samples.loc[name]
        assert json.loads(found.target) == golds
        for side in ("fp32", "quantized"):
            assert found[f"{side}_prediction"] == answer, (name, side)
            assert found[side] == pytest.approx(f1, abs=1e-4)
            assert found[f"{side}_exact_match"] == em
