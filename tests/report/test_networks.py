from pathlib import Path

from quantbench.results.load import Results
from tests.report.table_rows import int8, results, row, table, texts


def test_a_measured_row_hides_an_older_failure_of_its_slot():
    rows = [row(status="failed", error="no data", started="2026-02-01"), row(75.0)]
    assert texts(table(results(*rows), "table4"))[0][3] == "75.00 ±0.10"


def test_networks_that_differ_in_another_option_are_lines_of_their_own():
    made = [int8(93.5, model="mine", cell="a"), int8(80.0, model="mine", cell="b")]
    found = results(*made)
    for cell, arch in (("a", "resnet20"), ("b", "resnet56")):
        found.details[cell]["config"]["model"]["arch"] = arch
    assert [line[0].text for line in table(found, "table5").rows] == ["mine (arch=resnet20)", "mine (arch=resnet56)"]


def test_a_table_measured_on_fewer_samples_only_is_still_shown():
    found = results(row(75.0), int8(74.0, samples=500, fp32=75.0))
    assert texts(table(found, "table5"))[0][2:4] == ["75.00", "74.00 ±0.10"]
    verdicts = [line[-1].text for line in table(found, "differences").rows if line[1].text == "5"]
    assert verdicts == ["not compared: 500 of 50,000 samples"]


def test_one_model_with_other_weights_or_another_task_is_another_line():
    named = [row(75.0, cell="a"), row(1.0, cell="b"), row(60.0, cell="c", task="other")]
    details = {cell: {"config": {"model": {"weights": w}}} for cell, w in (("a", "IMAGENET1K_V1"), ("b", "random"))}
    details["c"] = details["a"]
    made = table(Results(Path("results"), named, details), "table4")
    assert [line[0].text for line in made.rows] == [
        "resnet50 (imagenet, IMAGENET1K_V1)",
        "resnet50 (imagenet, random)",
        "resnet50 (other, IMAGENET1K_V1)",
        "ResNet50 v1.5",
    ]


def test_only_the_options_that_differ_tell_networks_apart():
    named = [row(75.0, cell="a"), row(1.0, cell="b", task="other")]
    models = [
        {"weights": "shipped", "architecture": {"layers": 6}},
        {"weights": "random", "architecture": {"layers": 6}},
    ]
    tasks = [{"name": "imagenet", "path": "/data", "sha256": "0123456789"}, {"name": "other"}]
    details = {c: {"config": {"model": m, "task": t}} for c, m, t in zip("ab", models, tasks, strict=True)}
    made = table(Results(Path("results"), named, details), "table4")
    assert [line[0].text for line in made.rows][:2] == [
        "resnet50 (imagenet, shipped, task.path=/data, task.sha256=01234567)",
        "resnet50 (other, random)",
    ]


def test_a_record_without_configuration_joins_the_network_it_belongs_to():
    found = results(row(75.0, cell="a"), row(status="failed", fold_bn=True, cell="b"))
    del found.details["b"]
    assert texts(table(found, "table3"))[0][:5] == ["resnet50", "measured", "76.00", "75.00 ±0.10", "failed"]
