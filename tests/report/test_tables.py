from dataclasses import replace
from pathlib import Path

import pytest
from table_rows import int8, results, row

from quantbench.report.results import Results
from quantbench.report.table import MISSING
from quantbench.report.tables import tables

PAPER3 = ["76.16", "76.14", "76.14", "75.83", "75.84"]  # ResNet50 v1.5


def table(found, name):
    return {made.name: made for made in tables(found)}.get(name)


def texts(made):
    return [[item.text for item in line] for line in made.rows]


def column(made, title):
    return [line[made.columns.index(title)] for line in made.rows]


def test_table_3_has_our_row_above_the_papers():
    rows = [
        row(75.5, half=0.125),
        row(75.6, fold_bn=True),
        row(75.0, weight_granularity="per_tensor"),
        row(74.0, weight_granularity="per_tensor", fold_bn=True),
    ]
    made = table(results(*rows), "table3")
    ours = ["76.00", "75.50 ±0.12", "75.60 ±0.10", "75.00 ±0.10", "74.00 ±0.10"]
    assert texts(made) == [["resnet50", "measured", *ours], ["ResNet50 v1.5", "paper (same)", *PAPER3]]
    assert made.columns[2:] == (
        "fp32",
        "per channel",
        "per channel + BN folded",
        "per tensor",
        "per tensor + BN folded",
    )
    # -0.66 %, -0.53 %, -1.32 %, -2.63 %
    assert [item.large_drop for item in made.rows[0][3:]] == [False, False, True, True]
    assert made.rows[0][3].half_width == pytest.approx(0.125)
    assert made.rows[0][3].note == "change -0.50 (-0.62 to -0.38), agreement 99.00 %, SQNR 30.0 dB"
    assert [item.confidence for item in made.rows[1][2:]] == ["consistent"] + ["recalled"] * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_bits": 4},
        {"mapping": "affine"},
        {"skip_layers": "conv1"},
        {"residual_adds": True},
        {"gelu_bound": 10.0},
        {"method": "qat"},
        {"backend": "onnxruntime"},
        {"activation_bits": 8, "calib": "max"},
    ],
)
def test_tables_3_and_4_take_only_the_papers_scheme(changes):
    found = results(row(75.0, **changes))
    assert table(found, "table3") is None and table(found, "table4") is None
    assert len(table(found, "rows").rows) == 1


def test_table_4_has_the_relative_change_in_percent():
    made = table(results(row(75.24, half=0.38)), "table4")
    # -0.76 / 76 = -1 %, 0.38 / 76 = 0.5 %; 76.14 / 76.16 - 1 = -0.026 %
    assert texts(made) == [
        ["resnet50", "measured", "76.00", "75.24 ±0.38", "-1.00 ±0.50"],
        ["ResNet50 v1.5", "paper (same)", "76.16", "76.14", "-0.03"],
    ]
    assert not made.rows[0][3].large_drop  # exactly 1 % is not more than 1 %


def test_table_5_finds_each_calibration_and_marks_the_best_ones():
    rows = [
        int8(75.0),
        int8(75.9, "entropy"),
        int8(75.1, "percentile", 99.9),
        int8(75.9, "percentile", 99.99),
        int8(74.0, "percentile", 99.999),
        int8(75.3, "percentile", 99.9999),
    ]
    made = table(results(*rows), "table5")
    assert made.columns[2:] == ("fp32", "max", "entropy", "99.9", "99.99", "99.999", "99.9999")
    assert [item.value for item in made.rows[0][3:]] == [75.0, 75.9, 75.1, 75.9, 74.0, 75.3]
    assert [item.best for item in made.rows[0][3:]] == [False, True, False, True, False, False]
    assert [item.best for item in made.rows[1][3:]] == [False, True, False, False, False, False]  # 76.05
    assert "proven better than the others or not" in made.caption and "half of the paired 95 % interval" in made.caption


def test_table_5_gets_a_column_for_any_other_calibration():
    made = table(results(int8(75.0, "mse"), int8(75.1, "percentile", 99.5)), "table5")
    assert made.columns[-2:] == ("mse", "99.5")
    assert [item.text for item in made.rows[0][-2:]] == ["75.00 ±0.10", "75.10 ±0.10"]
    assert [item.text for item in made.rows[1][-2:]] == [MISSING, MISSING]


def test_a_single_calibration_is_not_the_best_one():
    assert not any(item.best for item in table(results(int8(75.0)), "table5").rows[0])


def test_networks_that_share_a_counterpart_stand_above_it_in_the_order_of_the_paper():
    models = ["mine", "efficientnet_lite1", "resnet20_fashion", "efficientnet_fashion"]
    made = table(results(*[row(75.0, model=model) for model in models], weights="shipped"), "table3")
    assert [(line[0].text, line[1].text) for line in made.rows] == [
        ("resnet20_fashion", "measured"),
        ("ResNet50 v1.5", "paper (family)"),
        ("efficientnet_fashion", "measured"),
        ("efficientnet_lite1", "measured"),
        ("EfficientNet b0", "paper (family)"),
        ("mine", "measured"),
    ]
    assert [line[0].paper for line in made.rows] == [False, True, False, False, True, False]


def test_what_the_papers_table_does_not_have_is_said():
    made = table(results(row(78.0, model="resnet152", fp32=78.3)), "table3")
    assert len(made.rows) == 1
    assert made.notes == ("The paper's table 3 does not have ResNet152 v1.5.",)


def test_a_cell_without_figures_is_shown_with_its_status():
    rows = [
        int8(75.0),
        int8(calib="entropy", status="error", error="unexpected ValueError"),
        int8(model="gnmt", task="unsupported", status="unsupported", error="not built yet"),
        int8(model="gnmt", task="unsupported", calib="entropy", status="unsupported", error="not built yet"),
    ]
    made = table(results(*rows), "table5")
    assert texts(made)[0][3:] == ["75.00 ±0.10", "error", MISSING, MISSING, MISSING, MISSING]
    assert texts(made)[2] == [
        "gnmt",
        "measured",
        MISSING,
        "unsupported",
        "unsupported",
        MISSING,
        MISSING,
        MISSING,
        MISSING,
    ]
    assert made.notes == ("error: resnet50 (1 of 6).", "unsupported: gnmt (2 of 6).")
    assert [item.text for item in column(table(results(*rows), "table2"), "baseline")] == ["ok", "unsupported"]


def test_only_failures_still_give_tables():
    found = results(row(status="failed", error="no data"), weights=None)
    assert [made.name for made in tables(found)] == ["table2", "table3", "table4", "failures", "rows"]
    assert texts(table(found, "table3"))[0] == ["resnet50", "measured", MISSING, "failed", MISSING, MISSING, MISSING]


def test_a_measured_row_hides_an_older_failure_of_its_slot():
    rows = [row(status="failed", error="no data", started="2026-02-01"), row(75.0)]
    assert texts(table(results(*rows), "table4"))[0][3] == "75.00 ±0.10"


def test_rows_without_figures_or_intervals_do_no_harm():
    bare = replace(row(75.0), change_low=None, change_high=None, agreement=None, sqnr_db=None, samples=None)
    empty = replace(row(75.0), quantized=None, fold_bn=True)
    made = table(results(bare, empty, weights=None), "table3")
    assert texts(made)[0][3:5] == ["75.00", "no figure"]
    single = table(results(row(75.0, half=float("inf"), samples=1)), "table3")
    assert texts(single)[0][3] == "75.00 ±∞"


def test_no_row_at_all_is_no_table():
    assert tables(Results(Path("results"), [])) == []


def test_table_2_has_the_sampling_interval_and_the_published_fp32():
    made = table(results(row(75.0, fp32=76.1)), "table2")
    # Wilson: share 0.761, n 50000, z 1.959964: centre 0.760980, half 0.003738.
    assert texts(made) == [
        ["resnet50", "imagenet", "top1", "50,000", "76.10", "75.72", "76.47", "76.16", "ok"],
    ]
    made = table(results(row(89.0, fp32=90.0, model="mine", metric="f1")), "table2")
    assert texts(made)[0][4:] == ["90.00", MISSING, MISSING, MISSING, MISSING]


def test_wilson_with_few_samples():
    # 18 of 20 right: Wilson's interval is 69.90 to 97.21.
    made = table(results(row(85.0, fp32=90.0, samples=20)), "table2")
    assert texts(made)[0][5:7] == ["69.90", "97.21"]


def test_an_fp32_that_is_off_is_flagged_wherever_it_stands():
    found = results(row(70.0, fp32=70.0))
    assert [item.text for item in column(table(found, "table2"), "baseline")] == ["off"]
    for name in ("table2", "table3", "table4"):
        made = table(found, name)
        assert column(made, "fp32")[0].flagged
        assert made.notes[0].startswith("‡ resnet50")
    assert "‡" in table(found, "differences").caption


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


def test_where_most_calibrations_are_equal_none_is_the_best():
    rows = [int8(75.0), int8(75.0, "entropy"), int8(74.0, "percentile", 99.9)]
    assert not any(item.best for item in table(results(*rows), "table5").rows[0])


def test_the_parameters_of_other_calibrators_tell_them_apart():
    rows = [int8(75.0, "energy", calib_parameters="share=0.9"), int8(74.0, "energy", calib_parameters="share=0.99")]
    made = table(results(*rows), "table5")
    assert made.columns[-2:] == ("energy share=0.9", "energy share=0.99")
    assert [item.value for item in made.rows[0][-2:]] == [75.0, 74.0]


def test_networks_that_differ_in_another_option_are_lines_of_their_own():
    made = [int8(93.5, model="mine", cell="a"), int8(80.0, model="mine", cell="b")]
    found = results(*made)
    for cell, arch in (("a", "resnet20"), ("b", "resnet56")):
        found.details[cell]["config"]["model"]["arch"] = arch
    assert [line[0].text for line in table(found, "table5").rows] == ["mine (arch=resnet20)", "mine (arch=resnet56)"]


def test_every_row_is_held_against_its_own_baseline():
    rows = [int8(76.0, fp32=76.16), int8(59.9, "entropy", fp32=60.0)]
    found = results(*rows)
    said = {line[2].text: line[-1].text for line in table(found, "differences").rows}
    assert said["max"] == "differs" or said["max"] == "agrees"
    assert said["entropy"].startswith("not compared: fp32 is 60.00, published 76.16")
    made = table(found, "table5")
    assert made.rows[0][2].flagged and any(note.startswith("‡ resnet50: fp32 is 60.00") for note in made.notes)


def test_fewer_samples_are_left_out_and_named():
    rows = [int8(75.0), int8(50.0, "entropy", samples=500, fp32=77.0), int8(75.9, "entropy", samples=500, seed=1)]
    made = table(results(*rows), "table5")
    assert texts(made)[0][3:5] == ["75.00 ±0.10", MISSING]
    assert "resnet50: the rows on 500 samples (2) are left out; those shown are on 50,000." in made.notes


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


def test_a_record_without_configuration_joins_the_network_it_belongs_to():
    found = results(row(75.0, cell="a"), row(status="failed", fold_bn=True, cell="b"))
    del found.details["b"]
    assert texts(table(found, "table3"))[0][:5] == ["resnet50", "measured", "76.00", "75.00 ±0.10", "failed"]


def test_rows_with_another_fp32_are_said():
    rows = [row(75.0), row(75.0, fold_bn=True, fp32=76.02)]
    assert table(results(*rows), "table3").notes[-1].startswith("resnet50: fp32 is 76.00 to 76.02 in its rows")


def test_differences_are_of_relative_changes():
    # Published: max 75.82 of 76.16 = -0.4464 %, entropy 76.05 = -0.1444 %.
    # Ours: 75.62 of 76.00 = -0.50 % +- 0.1316 %, 75.0 = -1.3158 %.
    made = table(results(int8(75.62), int8(75.0, "entropy")), "differences")
    assert texts(made) == [
        ["resnet50", "5", "max", "76.00", "76.16", "-0.50", "-0.45", "-0.05", "0.13", "recalled", "agrees"],
        ["resnet50", "5", "entropy", "76.00", "76.16", "-1.32", "-0.14", "-1.17", "0.13", "recalled", "differs"],
    ]
    assert made.notes[0].startswith("not run: table 3 per channel, per channel + BN folded, per tensor, ")
    assert "table 5 99.9, 99.99, 99.999, 99.9999 of resnet50" in made.notes[0]
    assert made.notes[1].startswith("Not run at all: mobilenet_v1, mobilenet_v2, resnet152")


@pytest.mark.parametrize("over, verdict", [(-0.001, "agrees"), (0.001, "differs")])
def test_the_limit_of_agreement_is_the_half_width_and_the_rounding(over, verdict):
    # The relative half width is 0.1 / 76 = 0.13158 %, and 0.1 points are added.
    relative = 100 * (75.82 / 76.16 - 1) - (0.1 / 76 * 100 + 0.1 + over)
    made = table(results(int8(76 * (1 + relative / 100))), "differences")
    assert made.rows[0][-1].text == verdict


def test_differences_say_why_a_figure_is_not_compared():
    def verdict(model, **changes):
        return table(results(int8(50.0, model=model, **changes)), "differences").rows[0][-1].text

    assert verdict("resnet50", fp32=70.0).startswith("not compared: fp32 is 70.00, published 76.16")
    assert verdict("efficientnet_b0") == "not compared: torchvision's weights are not those of the paper (lukemelas)"


def test_a_doubtful_figure_is_not_compared(monkeypatch):
    from quantbench.report import comparison
    from quantbench.report.published import published

    key = ("ResNet50 v1.5", "max")
    doubtful = {"5": {key: replace(published("5")[key], confidence="doubtful")}, "2": published("2")}
    monkeypatch.setattr(comparison, "published", lambda number: doubtful.get(number, {}))
    made = table(results(int8(75.82)), "differences")
    assert [line[-1].text for line in made.rows] == ["not compared: the published figure is doubtful"]


def test_only_the_papers_own_networks_are_compared():
    assert table(results(int8(75.0, model="resnet20_fashion"), int8(75.0, model="mine")), "differences") is None


def test_missing_figures_are_named_by_reason():
    rows = [int8(75.8), *(int8(model=model, status="unsupported") for model in ("gnmt", "jasper"))]
    notes = table(results(*rows), "differences").notes
    assert "unsupported: table 5 max of gnmt, jasper." in notes


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
    assert texts(made)[0][6:] == [
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
    assert texts(made)[1][3:] == ["failed", *[MISSING] * 11]
    assert len(made.rows) == 3 and made.formats == ("csv", "html")


def test_a_number_that_rounds_to_zero_has_no_minus():
    made = table(results(row(75.999)), "table4")
    assert texts(made)[0][4] == "+0.00 ±0.13"


def test_another_metric_works_alike():
    made = table(
        results(int8(89.0, model="bert_large", task="squad", metric="f1", fp32=91.0, samples=10_570)), "table5"
    )
    assert made.rows[0][3].text == "89.00 ±0.10" and made.rows[0][3].large_drop
    assert [item.confidence for item in made.rows[1][3:]] == ["doubtful"] * 6


def test_the_committed_rows_without_details():
    from quantbench.report.rows_csv import rows_from_csv

    path = Path(__file__).parents[2] / "results" / "desk" / "results.csv"
    rows = rows_from_csv(path)
    made = {found.name: found for found in tables(Results(path.parent, rows))}
    assert {"table2", "table3", "table4", "table5"} <= made.keys() and "differences" not in made
    assert len(made["rows"].rows) == len(rows)
    ours = {line[0].text for line in made["table5"].rows if not line[0].paper}
    assert ours == {found.model for found in rows}
    assert any(item.large_drop for item in column(made["table5"], "entropy"))


def test_the_agreement_of_each_calibration_stands_in_a_table_of_its_own():
    rows = [
        int8(70.0, agreement=91.5),
        int8(70.0, calib="entropy", agreement=88.25),
        row(status="failed", model="alexnet"),
    ]
    made = table(results(*rows), "table5_agreement")
    assert made.columns[:3] == ("network", "max", "entropy")
    assert texts(made) == [["resnet50", "91.50", "88.25", *[MISSING] * 4]]
    assert table(results(*rows), "table3_agreement") is None
