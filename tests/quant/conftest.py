from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

torch.manual_seed(0)  # for what test modules draw on import


@pytest.fixture(autouse=True)
def one_thread_and_fixed_seed() -> Iterator[None]:
    """Small tensors are fastest on one thread; random ones are the same in every run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
