from dataclasses import replace

import pytest

from quantbench.errors import UserError
from quantbench.gate.pairs import Pair, match
from tests.shared import ROW

FAILED = replace(ROW, cell="f", status="failed", error="no data", metric=None, samples=None, fp32=None, quantized=None)


def other(**columns):
    return replace(ROW, cell="bbbbbbbbbbbb", **columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"suite": "mine", "batch_size": 128, "device": "cuda", "torch": "3.0", "git": "x", "isa": "avx2"},
        {"fp32": 1.0, "quantized": 2.0, "seconds": 9.0},
        {"residual_adds": False, "gelu_bound": None, "skip_layers": ""},  # columns that an older file does not have
    ],
)
def test_rows_that_measure_the_same_are_a_pair(columns):
    found = match([ROW], [other(**columns)])
    assert found.pairs == (Pair(ROW, other(**columns)),)
    assert not found.missing and not found.added


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("model", "mobilenet_v1_fashion"),
        ("task", "imagenet"),
        ("seed", 1),
        ("calib_options", "percentile=99.9"),
        ("method_options", "epochs=3"),
        ("weight_bits", 4),
        ("fold_bn", True),
        ("residual_adds", True),
        ("gelu_bound", 10.0),
        ("skip_layers", "conv1"),
        ("calibration_samples", 64),
        ("metric", "top5"),
        ("samples", 500),
    ],
)
def test_rows_that_differ_in_what_they_measure_are_named_on_both_sides(column, value):
    new = other(**{column: value})
    found = match([ROW], [new])
    assert not found.pairs
    assert [alone.row for alone in found.missing] == [ROW]
    assert [alone.row for alone in found.added] == [new]
    assert match([ROW], [new], [column]).pairs == (Pair(ROW, new),)


def test_the_number_of_samples_is_said_where_it_is_all_that_differs():
    (missing,) = match([ROW], [other(samples=500)]).missing
    assert missing.why == "measured on 500 samples there, here on 10000"


@pytest.mark.parametrize("status", ["failed", "error", "unsupported"])
def test_a_cell_that_failed_is_missing_with_its_reason(status):
    (missing,) = match([ROW], [replace(FAILED, status=status)]).missing
    assert missing.why == f"{status}: no data"
    (added,) = match([replace(FAILED, status=status)], [ROW]).added
    assert added.why == f"{status}: no data"


def test_a_failed_row_that_the_baseline_does_not_know_is_named_once():
    new = replace(FAILED, model="another")
    found = match([ROW], [other(), new])
    assert [alone.row for alone in found.added] == [new]
    assert not match([ROW], [other(), FAILED]).added  # tried again with success


def test_doubles_are_refused_by_name():
    with pytest.raises(UserError) as refusal:
        match([ROW], [other(), replace(ROW, cell="cccccccccccc", device="cuda")])
    assert str(refusal.value) == (
        "the new results measured resnet20_fashion on fashion_mnist, w8 per_channel, a8 max (top1) twice, in the "
        "cells bbbbbbbbbbbb and cccccccccccc, which differ in cell, device: remove one of them"
    )
    with pytest.raises(UserError, match=r"the baseline measured .* differ in nothing"):
        match([ROW, ROW], [ROW])


def test_an_unknown_column_to_ignore():
    with pytest.raises(UserError, match="--ignore sed: did you mean seed"):
        match([ROW], [ROW], ["sed"])


def test_a_second_metric_is_a_row_of_its_own():
    second = {"secondary_fp32": 80.0, "secondary_quantized": 79.0, "secondary_change": -1.0}
    both = replace(ROW, metric="f1", p_value=0.1, secondary_metric="exact_match", **second)
    first, other_metric = match([both], [both]).pairs
    assert first == Pair(both, both)
    row = other_metric.new
    assert (row.metric, row.fp32, row.quantized, row.p_value, row.cell) == ("exact_match", 80.0, 79.0, None, ROW.cell)


def test_a_network_from_a_folder_pairs_wherever_the_folder_lies():
    here, there = (replace(ROW, model=f"{place}/net") for place in ("/home/me", "./ci"))
    assert len(match([here], [there]).pairs) == 1
    hub = replace(ROW, model="org/net")
    assert not match([hub], [there]).pairs
    other = replace(here, model="/data/net", cell="c" * 12)
    assert len(match([here, other], [here, other]).pairs) == 2  # both are called net
