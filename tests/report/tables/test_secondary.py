from tests.report.table_rows import int8, results, table, texts


def test_second_metrics_are_a_table_where_there_are_some():
    second = {"secondary_metric": "exact_match", "secondary_fp32": 84.0, "secondary_quantized": 83.0}
    interval = {"secondary_change": -1.0, "secondary_change_low": -1.5, "secondary_change_high": -0.5}
    more = {**second, **interval, "calibration_samples": 128}
    answers = int8(90.0, model="bert_base", task="squad", metric="f1", fp32=91.0, samples=10_570, **more)
    made = table(results(int8(75.0), answers), "secondary")
    head = ["bert_base", "squad", "exact_match", "w8 per_channel, a8 max", "10,570"]
    assert texts(made) == [[*head, "84.00", "83.00", "-1.00", "-1.50", "-0.50"]]
    assert made.rows[0][6].large_drop  # -1.19 %
    assert "exact_match is the percentage of questions answered with the very words. " in made.caption
    assert table(results(int8(75.0)), "secondary") is None
