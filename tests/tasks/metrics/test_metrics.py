import subprocess
import sys

import pytest

from quantbench.tasks.metrics import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_known_by_its_name_and_explained(name):
    assert METRICS[name].name == name and METRICS[name].kind and METRICS[name].meaning


def test_only_shares_of_right_answers_are_binomial():
    assert [name for name, metric in METRICS.items() if metric.share] == ["top1", "exact_match"]


def test_the_list_imports_no_torch():
    code = "import sys, quantbench.tasks.metrics; assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
