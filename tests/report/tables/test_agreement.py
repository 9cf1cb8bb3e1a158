from quantbench.report.tables.table import MISSING
from tests.report.table_rows import int8, results, row, table, texts


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


def test_networks_whose_answers_are_numbers_have_none():
    rows = [int8(70.0), int8(60.0, model="mine", metric="pearson", agreement=None)]
    assert [line[0].text for line in table(results(*rows), "table5_agreement").rows] == ["resnet50"]
    assert table(results(rows[1]), "table5_agreement") is None
