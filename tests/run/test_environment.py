import numpy as np

from quantbench.run.environment import version_of


def test_the_version_is_that_of_the_package_and_none_where_there_is_none():
    assert version_of("numpy") == np.__version__
    assert version_of("quantbench-has-no-such-package") is None
