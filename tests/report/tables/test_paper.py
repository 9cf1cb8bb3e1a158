from quantbench.report.tables.table import MISSING
from tests.report.table_rows import column, int8, results, row, table, texts


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
    assert texts(made)[0][4:] == ["75.00 ±0.10", "error", MISSING, MISSING, MISSING, MISSING]
    assert [line[2].text for line in made.rows] == ["top1", "Top1", MISSING, "BLEU"]
    assert texts(made)[2] == [
        "gnmt",
        "measured",
        MISSING,
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


def test_fewer_samples_are_left_out_and_named():
    rows = [int8(75.0), int8(50.0, "entropy", samples=500, fp32=77.0), int8(75.9, "entropy", samples=500, seed=1)]
    made = table(results(*rows), "table5")
    assert texts(made)[0][3:5] == ["75.00 ±0.10", MISSING]
    assert "resnet50: the rows on 500 samples (2) are left out; those shown are on 50,000." in made.notes


def test_rows_with_another_fp32_are_said():
    rows = [row(75.0), row(75.0, fold_bn=True, fp32=76.02)]
    assert table(results(*rows), "table3").notes[-1].startswith("resnet50: fp32 is 76.00 to 76.02 in its rows")
