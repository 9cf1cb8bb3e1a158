from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantbench.report.page import overview
from quantbench.results.load import Results
from tests.report.page_sample import DETAILS, ERROR, MEASURED, NOTHING, OTHER, UNSUPPORTED, sample_results

FOLDER = Path("results")


def test_counts_every_status():
    failed = replace(OTHER, cell="e" * 12, status="failed", error="no data", **NOTHING)
    results = sample_results(FOLDER, MEASURED, OTHER, ERROR, failed, UNSUPPORTED)
    assert overview.counts(results) == "4 networks, 5 cells: 2 measured, 2 failed, 1 not supported"
    one = sample_results(FOLDER, MEASURED)
    assert overview.counts(one) == "1 network, 1 cell: 1 measured, 0 failed, 0 not supported"


def test_origin_of_one_environment():
    assert overview.origin(sample_results(FOLDER, MEASURED, OTHER)) == (
        "photos (top1, 10,000 samples); measured 2026-11-23 16:34 to 16:41 UTC on cpu (avx512_vnni), "
        "torch 2.15.0+cpu, revision 0123456789ab."
    )


def test_origin_of_two_machines_names_neither():
    origin = overview.origin(sample_results(FOLDER, MEASURED, replace(OTHER, isa="avx2")))
    assert "avx" not in origin
    assert "environments that differ" in origin


def test_origin_without_any_figures():
    assert overview.origin(sample_results(FOLDER, ERROR)) == "No cell was measured."


def test_dates():
    def dates(*started: str | None) -> str:
        return overview.dates(sample_results(FOLDER, *(replace(MEASURED, cell=str(s), started=s) for s in started)))

    assert dates("2026-11-23T16:34:21+00:00") == "2026-11-23 16:34 UTC"
    assert dates("2026-11-24T01:00:00+00:00", "2026-11-23T16:34:21+00:00") == "2026-11-23 16:34 to 2026-11-24 01:00 UTC"
    assert dates(None) == "at an unknown time"


def test_environment_says_who_differs():
    results = sample_results(FOLDER, MEASURED, replace(OTHER, isa="avx2"), ERROR)
    results.details[OTHER.cell]["versions"] = {**DETAILS["versions"], "numpy": "1.26.0"}
    del results.details[OTHER.cell]["threads"]
    facts = {fact.name: fact for fact in overview.environment(results)}
    differing = {name: [value for value, _ in fact.values] for name, fact in facts.items() if fact.differs}
    assert differing == {
        "instruction set": ["avx512_vnni", "avx2"],
        "threads": ["2", "not recorded"],
        "numpy": ["2.4.6", "1.26.0"],
    }
    assert [row.model for row in facts["numpy"].values[1][1]] == ["beta"]
    assert facts["torch"].values[0][0] == "2.15.0+cpu"  # with its build


def test_environment_of_records_whose_details_are_no_use():
    results = Results(FOLDER, [MEASURED], {MEASURED.cell: {"versions": "none", "threads": None}})
    facts = {fact.name: [value for value, _ in fact.values] for fact in overview.environment(results)}
    assert facts["threads"] == ["not recorded"]
    assert facts["device"] == ["cpu"]


def test_failures_with_one_reason_are_one():
    again = replace(ERROR, cell="e" * 12, calib="mse")
    other = replace(ERROR, cell="f" * 12, error="another")
    (first, second) = overview.failures(sample_results(FOLDER, ERROR, MEASURED, again, other, UNSUPPORTED))
    assert first.cells == (
        ("cccccccccccc", "w8 per_channel, a8 max"),
        ("eeeeeeeeeeee", "w8 per_channel, a8 mse"),
    )
    assert (second.reason, len(second.rows)) == ("another", 1)
    (missing,) = overview.unsupported(sample_results(FOLDER, ERROR, UNSUPPORTED))
    assert (missing.model, missing.reason) == ("jasper", "not built")


def test_rows_of_several_makers_are_counted():
    def makers(*names: str | None) -> str:
        rows = [
            replace(MEASURED, cell=f"{i}" * 12, maker=name, started=f"2026-11-2{i}") for i, name in enumerate(names)
        ]
        return overview.makers(sample_results(FOLDER, *rows, ERROR))

    assert makers() == makers(None, None) == makers("a", "a") == ""
    assert makers("a", None, "b", "b").startswith("2 of 4 rows are of other makers than the last one measured")
    assert makers("a", "b").startswith("1 of 2 rows is of other makers")
