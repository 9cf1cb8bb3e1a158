from dataclasses import replace

from quantbench.report.figures import figures
from quantbench.report.formats.csv import as_csv
from quantbench.report.page import overview
from quantbench.report.tables import tables
from quantbench.report.tables.table import MISSING
from tests.report.table_rows import int8, results, table, texts


def structure_run(**changes):
    """A row without a metric, as `task=synthetic` makes it."""
    samples = {"samples": 8, "calibration_samples": 8}
    made = int8(76.0, task="synthetic", agreement=87.5, sqnr_db=23.14, **samples, **changes)
    nothing = ("metric", "fp32", "quantized", "change", "change_low", "change_high", "relative_change")
    return replace(made, layers=21, layers_quantized=20, peak_memory_mb=954.6, **dict.fromkeys(nothing))


def test_a_structure_run_has_a_table_of_its_own_and_is_never_an_accuracy():
    found = results(structure_run(model="resnet18"), weights="random")
    assert [made.name for made in tables(found)] == ["structure", "rows"]
    made = table(found, "structure")
    assert made.columns == (
        *("network", "weights", "recipe", "inputs", "agreement", "SQNR"),
        *("layers", "layers quantized", "peak memory", "seconds"),
    )
    line = ["resnet18", "random", "w8 per_channel, a8 max", "8", "87.50", "23.1", "21", "20", "955", "2.0"]
    assert texts(made) == [line]
    assert "This is no accuracy" in made.caption
    assert not any("resnet18" in figure.caption or "resnet18" in figure.alt for figure in figures(found))


def test_weights_are_real_random_or_not_recorded():
    def weights(said):
        return texts(table(results(structure_run(), weights=said), "structure"))[0][1]

    assert [weights("IMAGENET1K_V1"), weights("random"), weights(None)] == ["real", "random", MISSING]


def test_beside_an_evaluation_of_the_same_network_only_that_is_in_the_tables():
    found = results(structure_run(), int8(75.0))
    for name in ("table2", "table5", "table5_agreement"):
        ours = [line[0].text for line in table(found, name).rows if not line[0].paper]
        assert ours == ["resnet50 (imagenet)"]
    assert texts(table(found, "structure"))[0][0] == "resnet50 (synthetic)"
    ours, _ = texts(table(found, "rows"))
    head = ["resnet50 (synthetic)", "synthetic", MISSING, "w8 per_channel, a8 max", "ok", "8"]
    assert ours[:13] == [*head, *[MISSING] * 5, "87.50", "23.1"]
    assert as_csv(table(found, "rows")).splitlines()[1].startswith("resnet50 (synthetic),synthetic,,")


def test_a_failed_structure_run_is_a_failure_and_no_more():
    found = results(int8(task="synthetic", status="failed", error="out of memory"))
    assert [made.name for made in tables(found)] == ["failures", "rows"]


def test_the_overview_does_not_name_a_metric_that_is_none():
    assert overview.origin(results(structure_run())).startswith("synthetic (no accuracy, 8 samples); measured ")
