from quantbench.report.tables.table import MISSING
from tests.report.table_rows import int8, results, row, table, texts


def test_seeds_do_not_mix_and_their_spread_is_a_table():
    rows = [int8(75.5, seed=2), int8(75.0, seed=0), int8(74.0, seed=1), int8(60.0, seed=0, calibration_samples=64)]
    found = results(*rows)
    made = table(found, "table5")
    assert texts(made)[0][3] == "75.00 ±0.10"
    assert any("lowest seed" in note for note in made.notes)
    # 75.5, 75.0, 74.0: mean 74.833, deviations 0.667, 0.167, -0.833: sqrt(1.1667 / 2) = 0.764
    spread = texts(table(found, "repeats"))
    assert spread[0] == [
        "resnet50",
        "w8 per_channel, a8 max",
        "50,000",
        "1,024",
        "0 1 2",
        "3",
        "74.83",
        "0.764",
        "74.00",
        "75.50",
    ]
    assert spread[1:] == []  # one run on 64 samples has no spread


def test_the_same_seed_again_is_no_repeat():
    rows = [int8(75.0, batch_size=1), int8(74.9, batch_size=64, started="2026-03-01")]
    assert table(results(*rows), "repeats") is None
    made = table(results(*rows), "table5")
    assert texts(made)[0][3] == "74.90 ±0.10"  # the newest
    assert not any("repeats" in note for note in made.notes)


def test_weights_need_no_calibration_and_so_have_no_repeats():
    rows = [row(75.0, seed=0, calibration_samples=0), row(75.0, seed=1, calibration_samples=0)]
    assert table(results(*rows), "repeats") is None


def test_second_metrics_are_a_table_where_there_are_some():
    second = {"secondary_metric": "exact_match", "secondary_fp32": 84.0, "secondary_quantized": 83.0}
    interval = {"secondary_change": -1.0, "secondary_change_low": -1.5, "secondary_change_high": -0.5}
    answers = int8(90.0, model="bert_base", task="squad", metric="f1", fp32=91.0, samples=10_570, **second, **interval)
    made = table(results(int8(75.0), answers), "secondary")
    head = ["bert_base", "squad", "exact_match", "w8 per_channel, a8 max", "10,570"]
    assert texts(made) == [[*head, "84.00", "83.00", "-1.00", "-1.50", "-0.50"]]
    assert made.rows[0][6].large_drop  # -1.19 %
    assert "exact_match is the percentage of questions answered with the very words. " in made.caption
    assert table(results(int8(75.0)), "secondary") is None


def test_failures_of_one_kind_are_one_line():
    rows = [
        row(status="failed", error="no data"),
        int8(status="failed", error="no data"),
        row(status="error", error="unexpected", fold_bn=True),
        row(75.0),
    ]
    assert texts(table(results(*rows), "failures")) == [
        ["resnet50", "2 recipes", "2", "failed", "no data"],
        ["resnet50", "w8 per_channel, activations float, bn folded", "1", "error", "unexpected"],
    ]


def test_every_cell_is_in_rows_with_its_command():
    found = results(int8(75.0, cell="a"), row(status="failed", cell="b"), int8(74.0, cell="c", seed=1))
    passes = {"fp32": 0, "calibration": 1, "quantized": 1}
    found.details["a"].update(command="quantbench run calib=max", passes=passes)
    found.details["b"].update(command=["no text"], passes="no mapping")
    made = table(found, "rows")
    assert texts(made)[0][7:] == [
        "75.00",
        "-1.00",
        "-1.10",
        "-0.90",
        "99.00",
        "30.0",
        "2.0",
        "0 + 1 + 1",
        "quantbench run calib=max",
    ]
    assert texts(made)[0][:3] == ["resnet50", "imagenet", "top1"]
    assert texts(made)[1][2:] == [MISSING, "w8 per_channel, activations float", "failed", *[MISSING] * 11]
    assert len(made.rows) == 3 and made.formats == ("csv", "html")
