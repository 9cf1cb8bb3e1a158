import json
from types import SimpleNamespace

import pandas as pd
import pytest

from quantbench import tasks
from quantbench.assets.content import content_sha256
from quantbench.assets.huggingface import Absent
from quantbench.errors import UserError
from quantbench.tasks import squad
from quantbench.tasks.squad import DEV, TRAIN, Question, read


def question(number, *answers):
    return {
        "id": f"q{number}",
        "question": f"What is {number}?",
        "answers": [{"text": text, "answer_start": 0} for text in answers or (str(number).partition(".")[0],)],
    }


def articles(paragraphs, each=1, name="paragraph"):
    """A file's content: so many paragraphs with so many questions each, in two articles."""
    made = [
        {"context": f"{name} {i}", "qas": [question(f"{name} {i}.{j}") for j in range(each)]} for i in range(paragraphs)
    ]
    return {
        "version": "1.1",
        "data": [
            {"title": "First", "paragraphs": made[: paragraphs // 2]},
            {"title": "Second", "paragraphs": made[paragraphs // 2 :]},
        ],
    }


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def load(path, samples=1, seed=0):
    return tasks.load({"name": "squad", "path": str(path), "calibration_samples": samples, "seed": seed})


def test_questions_are_read_in_their_order(tmp_path):
    content = articles(2, each=2)
    content["data"][0]["paragraphs"][0]["qas"][1] = question(7, "éclair", "an éclair", "éclair")
    found = list(read(write(tmp_path / DEV, content)))
    assert found[1] == Question("q7", "What is 7?", "paragraph 0", ("éclair", "an éclair", "éclair"))
    assert [q.paragraph for q in found] == ["paragraph 0", "paragraph 0", "paragraph 1", "paragraph 1"]


def test_one_paragraph_in_8_calibrates_where_there_is_no_training_file(tmp_path):
    task = load(write(tmp_path / DEV, articles(17, each=3)), samples=2)
    assert [sample.read()[1] for sample in task.calibration] in (
        ["paragraph 7", "paragraph 15"],
        ["paragraph 15", "paragraph 7"],
    )
    assert len(task.evaluation) == 15 * 3
    assert {s.read()[1] for s in task.evaluation} == {f"paragraph {i}" for i in range(17)} - {
        "paragraph 7",
        "paragraph 15",
    }
    sample = task.evaluation[1]
    assert (sample.id, sample.read()) == ("qparagraph 0.1", ("What is paragraph 0.1?", "paragraph 0"))
    assert sample.target == ["paragraph 0"]
    with pytest.raises(UserError, match="calibration_samples=3 must be from 1 to 2, the number of paragraphs"):
        load(tmp_path / DEV, samples=3)


def test_the_training_file_calibrates_with_one_question_a_paragraph(tmp_path):
    write(tmp_path / DEV, articles(3, each=2))
    write(tmp_path / TRAIN, articles(5, each=4, name="training"))
    for path in (tmp_path, tmp_path / DEV):
        task = load(path, samples=5)
        assert sorted(s.id for s in task.calibration) == [f"qtraining {i}.0" for i in range(5)]
        assert len(task.evaluation) == 6


def test_a_paragraph_that_is_evaluated_never_calibrates(tmp_path):
    write(tmp_path / DEV, articles(3))
    shared = articles(2)  # the dev file's first two paragraphs
    shared["data"] += articles(2, name="training")["data"]
    write(tmp_path / TRAIN, shared)
    assert sorted(s.id for s in load(tmp_path, samples=2).calibration) == ["qtraining 0.0", "qtraining 1.0"]
    with pytest.raises(UserError, match="from 1 to 2"):
        load(tmp_path, samples=3)


@pytest.mark.parametrize("changed", [DEV, TRAIN])
def test_the_task_is_identified_by_the_content_of_its_files(tmp_path, changed):
    write(tmp_path / DEV, articles(3))
    write(tmp_path / TRAIN, articles(3, name="training"))
    config = {"name": "squad", "path": str(tmp_path), "calibration_samples": 1, "seed": 0}
    before = tasks.identity(config)
    assert before == {**config, "sha256": content_sha256(tmp_path / DEV, tmp_path / TRAIN)}
    assert len(tasks.load(before).evaluation) == 3
    write(tmp_path / changed, articles(4, name="other"))
    assert tasks.identity(config)["sha256"] != before["sha256"]


def test_a_question_that_changes_makes_another_sample(tmp_path):
    write(tmp_path / TRAIN, articles(1, name="training"))
    versions = []
    for answer in ("paragraph", "para"):
        content = articles(1)
        content["data"][1]["paragraphs"][0]["qas"][0] = question(1, answer)
        write(tmp_path / DEV, content)
        versions.append(load(tmp_path).evaluation[0].version)
    assert versions[0] != versions[1]


def test_too_few_paragraphs_to_hold_one_back(tmp_path):
    with pytest.raises(UserError, match=rf"{DEV} holds 7 paragraphs, too few .* one in 8: put {TRAIN} beside it"):
        load(write(tmp_path / DEV, articles(7, each=9)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'data'"),
        ('{"data": [{"title": "a"}]}', "KeyError: 'paragraphs'"),
        ("[" * 100_000, "RecursionError"),
    ],
)
def test_a_file_of_another_kind(tmp_path, text, why):
    (tmp_path / DEV).write_text(text)
    with pytest.raises(UserError, match=rf"^[^\n]*{DEV} is not a file of SQuAD v1\.1 \([^\n]*{why}[^\n]*$"):
        load(tmp_path)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / DEV).write_bytes(b'{"data": "\xff"}')
    with pytest.raises(UserError, match="UnicodeDecodeError"):
        load(tmp_path)


def test_squad_2_is_refused(tmp_path):
    content = articles(8)
    content["data"][1]["paragraphs"][0]["qas"].append(
        {"id": "none", "question": "?", "answers": [], "is_impossible": True}
    )
    with pytest.raises(UserError, match=r"question none has no answer: SQuAD v1\.1 is needed, not 2\.0"):
        load(write(tmp_path / DEV, content))


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_file_that_is_not_there(tmp_path, path):
    with pytest.raises(UserError, match=rf"task\.path=.*: there is no {DEV}; give the file or its folder"):
        load(tmp_path / path)


def test_without_the_hub_the_message_says_what_to_give(monkeypatch):
    def absent(*_):
        raise Absent("no network")

    monkeypatch.setattr(squad, "folder_of", absent)
    with pytest.raises(
        UserError, match=rf"^[^\n]*rajpurkar/squad[^\n]*\(no network\): give task\.path=FILE, a {DEV}[^\n]*$"
    ):
        tasks.load({"name": "squad", "seed": 0})


def test_the_data_set_of_the_hub(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "plain_text").mkdir()
    for split, count in (("train", 3), ("validation", 2)):
        rows = [
            {
                "id": f"{split}{i}",
                "question": f"What is {i}?",
                "context": f"{split} paragraph {i // 2}",
                "answers": {"text": [f"{i}", "a"], "answer_start": [0, 0]},
            }
            for i in range(count)
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / f"plain_text/{split}-00000-of-00001.parquet")
    asked = SimpleNamespace(holds=None)

    def folder_of(hub, patterns, holds, kind):
        assert (hub, kind) == ("rajpurkar/squad", "dataset")
        asked.holds = holds
        return tmp_path

    monkeypatch.setattr(squad, "folder_of", folder_of)
    task = tasks.load({"name": "squad", "calibration_samples": 2, "seed": 0})
    assert sorted(s.id for s in task.calibration) == ["train0", "train2"]
    assert [(s.id, s.read(), s.target) for s in task.evaluation] == [
        ("validation0", ("What is 0?", "validation paragraph 0"), ["0", "a"]),
        ("validation1", ("What is 1?", "validation paragraph 0"), ["1", "a"]),
    ]
    assert asked.holds(tmp_path)
    (tmp_path / "plain_text/validation-00000-of-00001.parquet").unlink()
    assert not asked.holds(tmp_path)


def test_a_byte_order_mark(tmp_path):
    write(tmp_path / "dev-v1.1.json", articles(8))
    right = [sample.read() for sample in load(tmp_path / "dev-v1.1.json").evaluation]
    text = (tmp_path / "dev-v1.1.json").read_text(encoding="utf-8")
    (tmp_path / "dev-v1.1.json").write_text(text, encoding="utf-8-sig")
    assert [sample.read() for sample in load(tmp_path / "dev-v1.1.json").evaluation] == right
