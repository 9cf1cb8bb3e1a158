from quantbench.report.tables.table import MISSING
from tests.report.table_rows import int8, results, row, table, texts


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
