import numpy as np
import torch

from quantbench.quant.histogram import HistogramCounter, equal_bins
from quantbench.results import histograms


def counted(x):
    counter = HistogramCounter()
    counter.add(x)
    return counter.histogram()


def test_histograms_come_back_bit_for_bit_and_are_small(tmp_path):
    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    written = {
        "normal": counted(x),
        "relu, one outlier": counted(torch.cat([torch.relu(x), torch.tensor([1e5])])),
        "zeros": counted(torch.zeros(10)),
        "all of float32": counted(torch.tensor([1e-45, -3.4028235e38])),
        "float64": counted(torch.tensor([1e300, 1e-300], dtype=torch.float64)),
        "equal": equal_bins(np.array([3, 0, 2**40]), 0.013, -0.1, 0.2, start=0.1),
    }
    histograms.write(tmp_path / "h.safetensors", written)
    found = histograms.read(tmp_path / "h.safetensors")
    assert list(found) == list(written)
    for site, histogram in written.items():
        assert np.array_equal(found[site].counts, histogram.counts) and found[site].counts.dtype == np.int64
        assert np.array_equal(found[site].edges, histogram.edges)
        assert (found[site].low, found[site].high) == (histogram.low, histogram.high)
    # In memory, 16 bytes for each of some 40,000 bins.
    assert (tmp_path / "h.safetensors").stat().st_size < 250_000
