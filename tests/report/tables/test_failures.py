from tests.report.table_rows import int8, results, row, table, texts


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
