from pathlib import Path

import pytest

from quantbench.report.tables import tables
from quantbench.report.tables.table import MISSING
from quantbench.results.load import Results, load_results
from tests.report.table_rows import column, int8, results, row, table, texts

PAPER3 = ["76.16", "76.14", "76.14", "75.83", "75.84"]  # ResNet50 v1.5


def test_table_3_has_our_row_above_the_papers():
    rows = [
        row(75.5, half=0.125),
        row(75.6, fold_bn=True),
        row(75.0, granularity="per_tensor"),
        row(74.0, granularity="per_tensor", fold_bn=True),
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


def test_a_single_calibration_is_not_the_best_one():
    assert not any(item.best for item in table(results(int8(75.0)), "table5").rows[0])


def test_only_failures_still_give_tables():
    found = results(row(status="failed", error="no data"), weights=None)
    assert [made.name for made in tables(found)] == ["table2", "table3", "table4", "failures", "rows"]
    assert texts(table(found, "table3"))[0] == ["resnet50", "measured", MISSING, "failed", MISSING, MISSING, MISSING]


def test_no_row_at_all_is_no_table():
    assert tables(Results(Path("results"), [])) == []


def test_table_2_has_the_sampling_interval_and_the_published_fp32():
    made = table(results(row(75.0, fp32=76.1)), "table2")
    # Wilson: share 0.761, n 50000, z 1.959964: centre 0.760980, half 0.003738.
    assert texts(made) == [
        ["resnet50", "classification", "imagenet", "top1", "50,000", "76.10", "75.72", "76.47", "76.16", "ok"],
    ]
    assert "top1 is the percentage of samples whose first answer is right. " in made.caption


@pytest.mark.parametrize("metric", ["f1", "pearson", "mine"])
def test_what_is_no_share_of_right_answers_has_no_binomial_interval(metric):
    made = table(results(row(89.0, fp32=90.0, model="mine", metric=metric)), "table2")
    assert texts(made)[0][5:] == ["90.00", MISSING, MISSING, MISSING, MISSING]


def test_metrics_are_named_where_several_stand_together():
    similarity = int8(62.0, model="minilm_similarity", task="lee_news", metric="pearson", fp32=63.0, agreement=None)
    made = table(results(int8(75.0), similarity), "table5")
    assert made.columns[:5] == ("network", "source", "metric", "fp32", "max") and made.keys == 3
    metrics = [line[2].text + line[2].confidence for line in made.rows]
    assert metrics == ["top1", "Top1recalled", "pearson", "F1recalled"]
    assert "; pearson is 100 times the correlation with people's judgement. " in made.caption
    assert "metric" not in table(results(int8(75.0)), "table5").columns
    assert "metric" in table(results(similarity), "table5").columns  # the paper's is F1
    assert not any("%" in item.text for item in made.rows[2])
    assert made.rows[2][4].note == "change -1.00 (-1.10 to -0.90), SQNR 30.0 dB"


def test_the_published_fp32_of_another_metric_is_not_shown():
    made = table(results(row(75.0, metric="top5", fp32=92.9)), "table2")
    assert texts(made)[0][5:6] + texts(made)[0][8:] == ["92.90", MISSING, "unchecked"]
    assert made.notes == ("resnet50: baseline unchecked: its metric is top5; the paper's is Top1",)


def test_an_fp32_that_is_off_is_flagged_wherever_it_stands():
    found = results(row(70.0, fp32=70.0))
    assert [item.text for item in column(table(found, "table2"), "baseline")] == ["off"]
    for name in ("table2", "table3", "table4"):
        made = table(found, name)
        assert column(made, "fp32")[0].flagged
        assert made.notes[0].startswith("‡ resnet50")
    assert "‡" in table(found, "differences").caption


def test_where_most_calibrations_are_equal_none_is_the_best():
    rows = [int8(75.0), int8(75.0, "entropy"), int8(74.0, "percentile", 99.9)]
    assert not any(item.best for item in table(results(*rows), "table5").rows[0])


def test_another_metric_works_alike():
    made = table(
        results(int8(89.0, model="bert_large", task="squad", metric="f1", fp32=91.0, samples=10_570)), "table5"
    )
    assert made.rows[0][3].text == "89.00 ±0.10" and made.rows[0][3].large_drop
    assert [item.confidence for item in made.rows[1][3:]] == ["doubtful"] * 6


def test_the_committed_rows_without_details():
    path = Path(__file__).parents[3] / "results" / "desk" / "results.csv"
    found_rows = load_results(path)
    rows, made = found_rows.rows, {found.name: found for found in tables(found_rows)}
    assert {"table2", "table3", "table4", "table5"} <= made.keys() and "differences" not in made
    assert len(made["rows"].rows) == len(rows)
    ours = {line[0].text for line in made["table5"].rows if not line[0].paper}
    assert ours == {found.model for found in rows}
    assert any(item.large_drop for item in column(made["table5"], "entropy"))
