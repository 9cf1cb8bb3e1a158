import subprocess
import sys
from dataclasses import replace

import pytest

from quantbench.results.recipe import recipe
from quantbench.results.record import spelled
from tests.shared import ROW


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, None),
        ({"percentile": 99.99}, "percentile=99.99"),
        ({"percentile": 99.0}, "percentile=99"),
        ({"steps": 3, "clip": None, "symmetric": True}, "clip=null steps=3 symmetric=true"),
        ({"head": "embedding", "note": "two words", "of": [1, "a b"]}, 'head=embedding note="two words" of=[1,"a b"]'),
    ],
)
def test_options_are_spelled_by_name(options, text):
    assert spelled(options) == text


@pytest.mark.parametrize(
    ("calib", "options", "percentile"),
    [
        ("percentile", "percentile=99.99", 99.99),
        ("percentile", "percentile=100", 100.0),
        ("percentile", None, None),
        ("max", None, None),
        ("mine", "percentile=99.99", None),
        ("percentile", "percentile=high", None),
    ],
)
def test_the_percentile_is_that_of_its_calibrator(calib, options, percentile):
    assert replace(ROW, calib=calib, calib_options=options).percentile == percentile


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calib": "percentile", "calib_options": "percentile=99.99"}, "w8 per_channel, a8 percentile 99.99"),
        ({"calib": "energy", "calib_options": "share=0.9"}, "w8 per_channel, a8 energy share=0.9"),
        ({"method": "qat", "method_options": "epochs=3"}, "w8 per_channel, a8 max, qat epochs=3"),
        ({"backend_options": "threads=1"}, "w8 per_channel, a8 max, simulate threads=1"),
        ({"model_options": "head=embedding", "seed": 2}, "w8 per_channel, a8 max, head=embedding, seed 2"),
    ],
)
def test_a_recipe_says_the_options(options, said):
    assert recipe(replace(ROW, **options)) == said


def test_records_gate_and_report_import_no_torch():
    code = (
        "import sys, quantbench.results.load, quantbench.gate.compare_figure, quantbench.gate.verdict,"
        "quantbench.report.build; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
