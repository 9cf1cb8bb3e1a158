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
