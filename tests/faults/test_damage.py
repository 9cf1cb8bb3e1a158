"""Files that were cut, bit-flipped, renamed or made by another program: found out, or the same values. Never others."""

import json
import os
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantbench.cli import main as cli
from quantbench.errors import UserError
from quantbench.quant.histogram import Histogram
from quantbench.results import store
from quantbench.results.histograms import NAMES, pack
from quantbench.results.load_side import read_side
from quantbench.results.record import Record
from quantbench.run import reference
from quantbench.run.cache import read_arrays, write_arrays
from tests.shared import ROW

SAMPLES = pd.DataFrame({"sample": ["a", "b"], "fp32": [100.0, 0.0], "quantized": [100.0, 0.0]})
SEEN = {"fc.input": Histogram(np.array([3, 0, 1]), 0.5, -0.25, 1.25)}
ARRAYS = {**pack(SEEN), "seconds": np.array(0.25)}
FIGURES = ["cell", "fp32", "quantized", "change", "change_low", "change_high", "agreement", "sqnr_db"]


def flips(content: bytes, every: int = 1):
    """The content with one bit flipped, for each bit, or for one of so many, drawn."""
    draw = random.Random(0)
    for start in range(0, 8 * len(content), every):
        place = start + draw.randrange(every)
        if place < 8 * len(content):
            damaged = bytearray(content)
            damaged[place // 8] ^= 1 << place % 8
            yield bytes(damaged)


def same(found, wanted) -> bool:
    pairs = [(found[name], array) for name, array in wanted.items()]
    return all(np.array_equal(one, other) and one.dtype == other.dtype for one, other in pairs)


HOW_MANY = [pytest.param(11, id="some"), pytest.param(3, id="more", marks=pytest.mark.slow)]
EVERY = pytest.mark.parametrize("every", HOW_MANY)


@EVERY
def test_no_bit_of_kept_arrays_can_flip_unseen(tmp_path, every):
    path, seen = tmp_path / "key.npz", 0
    write_arrays(path, ARRAYS)
    whole = path.read_bytes()
    assert same(read_arrays(path, tuple(ARRAYS)), ARRAYS)
    for damaged in flips(whole, every):
        path.write_bytes(damaged)
        found = read_arrays(path, tuple(ARRAYS))
        assert found is None or same(found, ARRAYS)
        seen += found is None
    assert seen > 4 * len(whole) // every


def test_kept_arrays_cut_off_anywhere_are_none(tmp_path):
    path = tmp_path / "key.npz"
    write_arrays(path, ARRAYS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert read_arrays(path, tuple(ARRAYS)) is None


def test_kept_arrays_of_another_key_another_shape_or_without_a_seal_are_none(tmp_path):
    path = tmp_path / "key.npz"
    write_arrays(path, ARRAYS)
    assert read_arrays(path.rename(tmp_path / "other.npz"), tuple(ARRAYS)) is None
    with np.load(tmp_path / "other.npz") as kept:
        seal = kept["seal"]
    for made in (
        ARRAYS,
        {**ARRAYS, "counts": ARRAYS["counts"][:, :2], "seal": seal},
        {**ARRAYS, "counts": ARRAYS["counts"].astype(np.int32), "seal": seal},
        {"counts": ARRAYS["counts"], "seal": seal},
        {**ARRAYS, "sites": np.array([{}], dtype=object), "seal": seal},
    ):
        np.savez_compressed(path, **made)
        assert read_arrays(path, tuple(ARRAYS)) is None


@EVERY
def test_histograms_of_results_made_before_there_were_seals_are_read_and_no_bit_flips_unseen(tmp_path, every):
    path = store.histograms_path(tmp_path, "h")
    path.parent.mkdir()
    arrays = pack(SEEN)
    np.savez_compressed(path, **arrays)
    assert list(store.read_histograms(tmp_path, "h")) == ["fc.input"]
    for damaged in flips(path.read_bytes(), every):
        path.write_bytes(damaged)
        found = read_arrays(path, NAMES, sealed=False)
        assert found is None or same(found, arrays)


@EVERY
def test_no_bit_of_a_record_can_flip_unseen(tmp_path, every):
    details = {"config": {"seed": 0}, "ranges": {"fc.input": {"low": [0.0], "high": [1.5]}}}
    store.write_record(tmp_path, Record(ROW, details, SAMPLES))
    path = store.record_path(tmp_path, ROW.cell)
    whole = path.read_bytes()
    ((row, kept),), seen = store.read_records(tmp_path)[0], 0
    for damaged in flips(whole, every):
        path.write_bytes(damaged)
        records, problems = store.read_records(tmp_path)
        assert len(records) + len(problems) == 1
        assert not problems or (path.name in problems[0] and "\n" not in problems[0])
        assert not records or (records[0][0] == row and all(records[0][1].get(key) == kept[key] for key in details))
        seen += len(problems)
    assert seen > 4 * len(whole) // every


def test_records_made_before_there_were_checksums_are_read(tmp_path):
    store.write_record(tmp_path, Record(ROW, {}, SAMPLES))
    path = store.record_path(tmp_path, ROW.cell)
    content = json.loads(path.read_text())
    for name in (store.CHECKSUM, store.SAMPLES):
        del content[name]
    path.write_text(json.dumps(content))
    assert store.read_rows(tmp_path) == ([ROW], [])
    assert read_side(tmp_path).samples(ROW.cell) is not None


def test_no_bit_of_the_samples_can_flip_unseen(tmp_path):
    store.write_record(tmp_path, Record(ROW, {}, SAMPLES))
    path = store.samples_path(tmp_path, ROW.cell)
    for damaged in flips(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="its checksum is not the one in the record"):
            read_side(tmp_path).samples(ROW.cell)


def test_samples_of_another_run_of_the_cell_are_not_taken_for_the_records_own(tmp_path, capsys):
    for name, rate in (("a", 0.0), ("b", 100.0)):
        samples = SAMPLES.assign(quantized=[rate, 0.0])
        store.write_record(tmp_path / name, Record(replace(ROW, samples=2), {}, samples))
    os.replace(store.samples_path(tmp_path / "b", ROW.cell), store.samples_path(tmp_path / "a", ROW.cell))
    assert cli.main(["check", str(tmp_path / "a"), "--baseline", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert "its checksum is not the one in the record" in said and "run the cell again with force=true" in said


def test_a_record_with_the_samples_of_a_later_run_is_measured_again(tmp_path):
    """As `force` leaves it that was killed between the two."""
    for name, rate in (("old", 0.0), ("new", 100.0)):
        store.write_record(tmp_path / name, Record(replace(ROW, samples=2), {}, SAMPLES.assign(quantized=[rate, 0.0])))
    assert store.read_row(tmp_path / "old", ROW.cell) is not None
    os.replace(store.samples_path(tmp_path / "new", ROW.cell), store.samples_path(tmp_path / "old", ROW.cell))
    for results in (tmp_path / "old", tmp_path / "new"):  # others' scores, and none
        with pytest.raises(UserError, match="run the cell again"):
            store.read_row(results, ROW.cell)


CELL = ("run", "limit=8", "task.calibration_samples=8", "threads=1")


def test_damage_is_mended_by_the_same_command_and_changes_no_figure(folder, monkeypatch, capsys):
    from quantbench.assets import asset_folder, fetch

    asset = fetch("fashion_mnist")
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
    asset_folder("fashion_mnist").parent.mkdir(parents=True)
    asset_folder("fashion_mnist").symlink_to(asset)
    assert cli.main([*CELL]) == 0
    wanted = pd.read_csv("quantbench-results/results.csv")[FIGURES]
    results = folder / "quantbench-results"
    (record,) = results.glob("cells/*.json")
    kept = [path for place in (results / "histograms", folder / "cache") for path in place.rglob("*.npz")]
    assert len(kept) == 3
    draw = random.Random(0)
    for path in (*kept, record):
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
    reference.forget()
    capsys.readouterr()
    assert cli.main(["report", "results_dir=quantbench-results"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main([*CELL]) == 0
    assert capsys.readouterr().err == ""
    pd.testing.assert_frame_equal(pd.read_csv("quantbench-results/results.csv")[FIGURES], wanted)
    assert store.read_histograms(results, json.loads(record.read_text())["histograms"])
    assert read_arrays(kept[0], NAMES) is not None  # the folder's own histograms are written again
