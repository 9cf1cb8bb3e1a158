"""Memory that runs out: smaller batches, the same figures as with these from the start, and else a clear line."""

import csv
import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from quantbench.errors import ran_out
from quantbench.results import histograms
from quantbench.results.store import histograms_path
from tests import faulty

ADVICE = "free memory, or take a smaller network or a machine with more"
CPU = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
ERRORS = (
    RuntimeError(CPU),
    MemoryError("Unable to allocate 9 GiB"),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("std::bad_alloc"),
    OSError(12, "Cannot allocate memory"),
)
ANEW = ("started", "seconds", "seconds_calibrate", "seconds_fp32", "seconds_quantized", "peak_memory_mb")


def rows(results="quantbench-results"):
    with open(f"{results}/results.csv", newline="", encoding="utf-8") as file:
        found = [{key: value for key, value in row.items() if key not in ANEW} for row in csv.DictReader(file)]
    return sorted(found, key=lambda row: row["weight_bits"], reverse=True)


def details(row, results="quantbench-results"):
    return json.loads(Path(results, "cells", f"{row['cell']}.json").read_text(encoding="utf-8"))


def fits(monkeypatch, size, kinds=("fp32", "calibration", "quantized"), error=ERRORS[0]):
    """No more than `size` samples go into memory in these passes; the pass and size of every batch from now on."""
    seen = []

    def before(kind, batch):
        seen.append((kind, len(batch)))
        if kind in kinds and len(batch) > size:
            raise error

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    return seen


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__} {str(error)[:20]}")
def test_every_way_to_say_so_is_known(error):
    assert ran_out(error)
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) and not ran_out(OSError(2, "no file"))


@pytest.mark.parametrize(("kind", "error"), [("fp32", ERRORS[0]), ("calibration", ERRORS[1]), ("quantized", ERRORS[2])])
def test_a_batch_that_does_not_fit_is_halved_in_every_pass(run, capsys, monkeypatch, kind, error):
    fits(monkeypatch, 2, (kind,), error)
    assert run() == 0
    captured = capsys.readouterr()
    first = "train/0" if kind == "calibration" else "test/0"
    place = f"(faulty, {kind}, batch 1 of {3 if kind == 'calibration' else 5}, which begins with {first})"
    assert captured.err == f"quantbench: out of memory with batches of 4: going on with 2 {place}\n"
    (row,) = rows()
    assert (row["status"], row["batch_size"]) == ("ok", "2")
    record = details(row)
    assert (record["batch_size"], record["config"]["batch_size"]) == (2, 4)

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(faulty.nothing))
    monkeypatch.setattr("quantbench.run.cache.cache_folder", lambda: Path("another").absolute())
    faulty.reference.forget()
    assert run("batch_size=2", "results_dir=small") == 0
    (small,) = rows("small")
    assert small.pop("cell") != row.pop("cell")
    assert row == small
    samples = [next(Path(f, "cells").glob("*.samples.csv")).read_bytes() for f in ("quantbench-results", "small")]
    assert samples[0] == samples[1]
    for name in ("ranges", "site_sqnr_db", "histograms"):
        assert record[name] == details(rows("small")[0], "small")[name]


def test_later_cells_begin_with_what_fits_and_it_is_said_once(run, capsys, monkeypatch):
    seen = fits(monkeypatch, 2)
    assert run("-m", "weight_bits=8,7") == 0
    assert capsys.readouterr().err.count("out of memory") == 1
    assert [row["batch_size"] for row in rows()] == ["2", "2"]
    assert [size for kind, size in seen if kind in ("fp32", "quantized") and size > 2] == [4]


def test_a_pass_that_broke_off_in_the_middle_counts_nothing_twice(run, monkeypatch):
    seen = []

    def before(kind, batch):
        seen.append(kind)
        if seen.count("calibration") == 2 and kind == "calibration":
            raise ERRORS[0]

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    assert run() == 0
    (name,) = [path.stem for path in Path("quantbench-results/histograms").iterdir()]
    found = histograms.read(histograms_path(Path("quantbench-results"), name))
    counts = {site: histogram.total for site, histogram in found.items()}
    assert counts == {"first.input": 12 * faulty.WIDTH, "second.input": 12 * 16}


def test_a_batch_larger_than_the_data_is_halved_from_their_number(run, capsys, monkeypatch):
    fits(monkeypatch, 10)
    assert run("batch_size=1000000000") == 0
    assert "out of memory with batches of 20: going on with 10" in capsys.readouterr().err
    assert rows()[0]["batch_size"] == "10"


def test_what_does_not_fit_alone_is_a_failed_record_and_the_sweep_goes_on(run, capsys, monkeypatch):
    fits(monkeypatch, 0, ("quantized",))
    assert run() == 2
    error = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in error[:2]] == [
        "quantbench: out of memory with batches of 4: going on with 2",
        "quantbench: out of memory with batches of 2: going on with 1",
    ]
    said = f"out of memory with a batch of 1 (quantized, batch 1 of 20, which begins with test/0): {ADVICE}"
    assert error[2] == f"quantbench: faulty, w8 per_channel, a8 max: {said}"
    assert (rows()[0]["status"], rows()[0]["error"]) == ("failed", said)


def test_no_memory_for_weights_outputs_or_scores_is_said(run, capsys, monkeypatch):
    def failing(*_, **__):
        raise MemoryError("Unable to allocate 9 GiB")

    for target, said in (
        ("tests.faulty.load", f"out of memory for the network faulty and the data of faulty: {ADVICE}"),
        ("quantbench.run.predict._joined", "out of memory for the outputs of 20 samples (fp32): lower limit"),
        ("quantbench.run.measure.beside", f"out of memory (Unable to allocate 9 GiB): {ADVICE}"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, failing)
            faulty.reference.forget()
            assert run("retry=failed") == 2
        assert said in capsys.readouterr().err
        assert rows()[0]["status"] == "failed"


@pytest.mark.parametrize("allocate", [lambda n: torch.empty(n, dtype=torch.uint8), lambda n: np.ones(n, np.uint8)])
def test_a_system_that_gives_no_more_memory(run, capsys, monkeypatch, allocate):
    """The real errors of torch and numpy, under a limit of this process."""
    taken = []

    def before(kind, batch):
        if kind == "quantized":
            taken.append(allocate(len(batch) << 26))
            taken.clear()

    monkeypatch.setattr(faulty.Settings, "before", staticmethod(before))
    assert run("results_dir=warm") == 0  # all that is loaded at the first use is loaded
    faulty.reference.forget()
    capsys.readouterr()
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    before_limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), before_limit[1]))
    try:
        code = run()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before_limit)
    assert code == 0
    assert "out of memory with batches of 4: going on with 2" in capsys.readouterr().err
    assert rows()[0]["batch_size"] == "2"
