"""Speed and memory of quantbench on this machine: `make bench`.

Every ratio comes from interleaved measurements; times differ between machines, ratios hardly.
Writes build/bench.json beside the printed table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from quantbench import networks
from quantbench.cli.main import OPENMP_WAITING
from quantbench.quant.calibrators import _divergence, entropy_range, max_range
from quantbench.quant.histogram import Histogram, equal_bins
from quantbench.quant.layers import find_layers
from quantbench.quant.observe import collect, observe
from quantbench.quant.scheme import Scheme, decide
from quantbench.quant.simulate import simulate
from quantbench.results.maker import versions
from quantbench.run.environment import peak_memory_mb, reset_peak_memory

# name -> (config of the network, the ratio to stay below; None where none is set)
FORWARD = {
    "resnet50 (torchvision)": ({"family": "torchvision", "arch": "resnet50"}, 1.10),
    "mobilenet_v2 (torchvision)": ({"family": "torchvision", "arch": "mobilenet_v2"}, 1.30),
    "resnet20_fashion": ({"family": "fashion"}, None),
    "mobilenet_v2_fashion": ({"family": "fashion"}, None),
    "efficientnet_lite0": ({"family": "efficientnet_lite"}, None),
}
ENTROPY_LIMIT_MS = 20.0
MEMORY_LIMIT = 1.3
BATCH = 8
# How long idle threads of OpenMP look for work: what is measured beside the default.
WAITING = {
    "default": {},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{str(count): {"GOMP_SPINCOUNT": str(count)} for count in (1000, 2000, 3000, 5000, 10_000)},
}


def main() -> None:
    """Measure everything, or (with --memory) one memory figure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="interleaved measurements of each forward pass")
    parser.add_argument("--waiting", action="store_true", help="only how long idle threads look for work")
    parser.add_argument("--busy", action="store_true", help="measure that beside a process that is always busy, too")
    parser.add_argument("--memory", nargs=3, metavar=("NETWORK", "MODE", "BATCHES"), help=argparse.SUPPRESS)
    parser.add_argument("--passes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.passes:
        print(json.dumps(_pass_seconds()))
        return
    if options.waiting:
        waiting(options.busy)
        return
    if options.memory:
        name, mode, batches = options.memory
        print(_peak(name, mode, int(batches)))
        return
    results = {
        "simulated / float": {name: forward_ratio(name, options.rounds) for name in FORWARD},
        "observing / float": {name: observing_ratio(name, options.rounds) for name in FORWARD},
        "entropy search": entropy_search(),
        "--help": help_seconds(),
        "calibration peak / float peak": {name: memory_ratio(name) for name in list(FORWARD)[:2]},
        "waiting threads": waiting(options.busy),
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }
    Path("build").mkdir(exist_ok=True)
    Path("build/bench.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _load(name: str) -> networks.Network:
    config = {"name": name.split()[0], "weights": "random", "seed": 0, **FORWARD[name][0]}
    return networks.load(config)


def forward_ratio(name: str, rounds: int) -> dict[str, float]:
    """Simulated and float forward passes, one after the other, `rounds` times; the median of their ratios."""
    network = _load(name)
    batch = torch.randn(BATCH, *network.example[0].shape[1:], generator=torch.Generator().manual_seed(0))
    layers = find_layers(network.module, *network.example)
    histograms = collect(network.module, [(batch,)])
    mappings = decide(layers, histograms, max_range, Scheme()).mappings
    module, ratios, floats = network.module, [], []
    with torch.inference_mode():
        for _ in range(rounds):
            module(batch)  # both sides start warm
            plain = _seconds(lambda: module(batch))
            with simulate(module, mappings):
                module(batch)  # quantizes the weights and takes the scratch memory, once
                simulated = _seconds(lambda: module(batch))
            ratios.append(simulated / plain)
            floats.append(plain)
    ratio, limit = statistics.median(ratios), FORWARD[name][1]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    verdict = "" if limit is None else f"   limit {limit:.2f}: {'held' if ratio <= limit else 'EXCEEDED'}"
    print(f"simulated / float forward  {name:<28} {ratio:.2f}  ({spread}){verdict}", flush=True)
    return {"ratio": ratio, "low": min(ratios), "high": max(ratios), "float_ms": 1e3 * statistics.median(floats)}


def observing_ratio(name: str, rounds: int) -> dict[str, float]:
    """Forward passes whose activations are counted, and float ones, one after the other; the median of their ratios."""
    network = _load(name)
    batch = torch.randn(BATCH, *network.example[0].shape[1:], generator=torch.Generator().manual_seed(0))
    ratios = []
    with torch.inference_mode():
        for _ in range(rounds):
            network.module(batch)
            plain = _seconds(lambda: network.module(batch))
            with observe(network.module):
                network.module(batch)  # meets the octaves, once
                ratios.append(_seconds(lambda: network.module(batch)) / plain)
    ratio = statistics.median(ratios)
    print(f"observing / float forward  {name:<28} {ratio:.2f}  ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return {"ratio": ratio, "low": min(ratios), "high": max(ratios)}


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def entropy_search() -> dict[str, float]:
    """The search against its definition, on 2048 bins of normal, half-normal-with-zeros and heavy-tailed values."""
    generator = np.random.default_rng(0)
    samples = [
        generator.normal(size=200_000),
        generator.normal(size=200_000).clip(0),
        generator.normal(size=200_000) ** 3,
    ]
    fast, slow = [], []
    for values in samples:
        counts, edges = np.histogram(np.abs(values), bins=2048, range=(0, float(np.abs(values).max())))
        histogram = equal_bins(counts.astype(np.int64), float(edges[1]), float(values.min()), float(values.max()))
        fast += [_seconds(lambda h=histogram: entropy_range(h, 8)) for _ in range(10)]
        began = time.perf_counter()
        expected = _entropy_by_definition(histogram)
        slow.append(time.perf_counter() - began)
        assert np.isclose(entropy_range(histogram, 8), expected, rtol=1e-9), "the search missed the least divergence"
    milliseconds = 1e3 * statistics.median(fast)
    verdict = "held" if milliseconds <= ENTROPY_LIMIT_MS else "EXCEEDED"
    print(
        f"entropy search, 2048 bins   {milliseconds:.1f} ms a tensor   limit {ENTROPY_LIMIT_MS:.0f} ms: {verdict}   "
        f"(by definition {1e3 * statistics.median(slow):.0f} ms, same thresholds)",
        flush=True,
    )
    return {"milliseconds": milliseconds, "by_definition_milliseconds": 1e3 * statistics.median(slow)}


def _entropy_by_definition(histogram: Histogram) -> float:
    counts = histogram.counts.astype(np.float64)
    counts[0] = counts[1]
    with np.errstate(divide="ignore"):
        divergences = np.array([_divergence(counts, i, 128) for i in range(128, len(counts) + 1)])
    return float(histogram.edges[128 + np.flatnonzero(divergences == divergences.min())[-1]])


def help_seconds() -> dict[str, float]:
    """The time that `quantbench --help` takes, a new process each."""
    command = [sys.executable, "-m", "quantbench", "--help"]
    times = [_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5)]
    median = statistics.median(times)
    print(
        f"quantbench --help           {median:.2f} s   limit 0.30 s: {'held' if median <= 0.3 else 'EXCEEDED'}",
        flush=True,
    )
    return {"seconds": median}


def memory_ratio(name: str) -> dict[str, float]:
    """Peak memory of calibration over that of float passes, in processes of their own; few and many batches."""
    plain = _peak_of(name, "float", 4)
    ratios = {f"{count} batches": _peak_of(name, "calibrate", count) / plain for count in (4, 16)}
    worst = max(ratios.values())
    shown = ", ".join(f"{label} {ratio:.2f}" for label, ratio in ratios.items())
    verdict = "held" if worst <= MEMORY_LIMIT else "EXCEEDED"
    print(f"calibration / float peak    {name:<28} {shown}   limit {MEMORY_LIMIT:.2f}: {verdict}", flush=True)
    return {"float_mb": plain, **ratios}


def _peak_of(name: str, mode: str, batches: int) -> float:
    command = [sys.executable, __file__, "--memory", name, mode, str(batches)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak(name: str, mode: str, batches: int) -> float:
    """Growth of the resident memory in MB over what the loaded network takes."""
    network = _load(name)
    shape = network.example[0].shape[1:]
    stream = ((torch.randn(BATCH, *shape),) for _ in range(batches))
    reset_peak_memory()
    before = peak_memory_mb()
    if mode == "calibrate":
        collect(network.module, stream)
    else:
        _forward_all(network.module, stream)
    return peak_memory_mb() - before


def _forward_all(module: nn.Module, stream: Iterable[tuple[torch.Tensor, ...]]) -> None:
    with torch.inference_mode():
        for batch in stream:
            module(*batch)


def waiting(busy: bool, rounds: int = 3) -> dict[str, dict[str, dict[str, float]]]:
    """Times of float passes with each setting of WAITING over those with the default, processes side by side."""
    results = {}
    for machine in ("quiet", "busy")[: 1 + busy]:
        times: dict[str, list[dict[str, float]]] = {setting: [] for setting in WAITING}
        with _busy_loop(machine == "busy"):
            for _ in range(rounds):
                for setting in WAITING:
                    times[setting].append(_passes(WAITING[setting]))
        medians = {
            setting: {name: statistics.median(one[name] for one in measured) for name in measured[0]}
            for setting, measured in times.items()
        }
        results[machine] = {
            setting: {name: seconds / medians["default"][name] for name, seconds in median.items()}
            for setting, median in medians.items()
        }
        default = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in medians["default"].items())
        print(f"waiting threads, {machine:<5}      {default}", flush=True)
        for setting, ratios in results[machine].items():
            shown = "  ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
            print(f"  {setting:<12} / default   {shown}", flush=True)
    return results


@contextmanager
def _busy_loop(wanted: bool) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def _passes(setting: dict[str, str]) -> dict[str, float]:
    """What `--passes` gives in a process of its own, as libgomp reads the environment once."""
    environment = {name: value for name, value in os.environ.items() if name not in OPENMP_WAITING}
    command = [sys.executable, __file__, "--passes"]
    done = subprocess.run(command, env={**environment, **setting}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _pass_seconds() -> dict[str, float]:
    """The median seconds of a pass of many small layers, of linear ones, and of MobileNet v2."""
    torch.manual_seed(0)
    modules = {
        "20 small conv2d": (nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(20))), (BATCH, 16, 32, 32)),
        "24 linear": (nn.Sequential(*(nn.Linear(512, 512) for _ in range(24))), (256, 512)),
        "mobilenet_v2": (_load("mobilenet_v2 (torchvision)").module, (BATCH, 3, 224, 224)),
    }
    times = {}
    with torch.inference_mode():
        for name, (module, shape) in modules.items():
            batch = torch.randn(shape)
            module(batch)  # warm
            times[name] = statistics.median(_seconds(lambda m=module, x=batch: m(x)) for _ in range(9))
    return times


if __name__ == "__main__":
    main()
