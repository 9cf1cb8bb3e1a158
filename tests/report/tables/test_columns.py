import pytest

from quantbench.report.tables.table import MISSING
from tests.report.table_rows import int8, results, row, table


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


def test_table_5_gets_a_column_for_any_other_calibration():
    made = table(results(int8(75.0, "mse"), int8(75.1, "percentile", 99.5)), "table5")
    assert made.columns[-2:] == ("mse", "99.5")
    assert [item.text for item in made.rows[0][-2:]] == ["75.00 ±0.10", "75.10 ±0.10"]
    assert [item.text for item in made.rows[1][-2:]] == [MISSING, MISSING]


def test_the_parameters_of_other_calibrators_tell_them_apart():
    rows = [int8(75.0, "energy", calib_options="share=0.9"), int8(74.0, "energy", calib_options="share=0.99")]
    made = table(results(*rows), "table5")
    assert made.columns[-2:] == ("energy share=0.9", "energy share=0.99")
    assert [item.value for item in made.rows[0][-2:]] == [75.0, 74.0]
