from dataclasses import replace

from tests.report.table_rows import results, row, table, texts


def test_rows_without_figures_or_intervals_do_no_harm():
    bare = replace(row(75.0), change_low=None, change_high=None, agreement=None, sqnr_db=None, samples=None)
    empty = replace(row(75.0), quantized=None, fold_bn=True)
    made = table(results(bare, empty, weights=None), "table3")
    assert texts(made)[0][3:5] == ["75.00", "no figure"]
    single = table(results(row(75.0, half=float("inf"), samples=1)), "table3")
    assert texts(single)[0][3] == "75.00 ±∞"


def test_a_number_that_rounds_to_zero_has_no_minus():
    made = table(results(row(75.999)), "table4")
    assert texts(made)[0][4] == "+0.00 ±0.13"
