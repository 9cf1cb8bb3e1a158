"""Real reruns through the gate: other calibration seeds must pass, planted regressions must not.

Writes results/gate/reruns.csv.

Two networks on 2,000 photos, int8 per channel, max: 20 calibration seeds, each against each other one, and regressions
that a row would not confess to: the recipe says what it said before, and the network was quantized otherwise.
Takes some ten minutes; what is measured in the folder named is not measured again.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from quantbench.gate.drop import evidence
from quantbench.gate.pairs import Pair
from quantbench.gate.verdict import Amount, Judged, Outcome, Rules, judge
from quantbench.results.load import Results, load_results
from quantbench.results.record import Row

FILE = Path(__file__).resolve().parent.parent / "results" / "gate" / "reruns.csv"
COLUMNS = (
    *("network", "what", "by", "comparisons", "held", "undecided", "dropped"),
    *("mean_drop", "largest_drop", "smallest_detectable_drop"),
)
NETWORKS = ("resnet20_fashion", "mobilenet_v1_fashion")
COMMON = ("limit=2000", "threads=1")
SEEDS = 20
RULES = Rules(max_drop=Amount(1, relative=True), max_fp32_drift=Amount(100, relative=False))
# What the plant is -> its overrides.
PLANTS = {
    "percentile 95": ("calib=percentile", "calib.percentile=95"),
    "percentile 99": ("calib=percentile", "calib.percentile=99"),
    "per-tensor weights, BN folded": ("granularity=per_tensor", "fold_bn=true"),
    "weights of 4 bits": ("weight_bits=4",),
    "weights of 3 bits": ("weight_bits=3",),
}
# A fold that drops one normalization of each network and forgets its factors, at the place that is the first argument.
# Its histograms are kept under a name of their own.
SKIP = """
import sys
from quantbench.cli import main as cli
from quantbench.quant.transforms import fold
from quantbench.run import reference
place, *arguments = sys.argv[1:]
absorb, whole, key, calls = fold._absorb, fold.fold_batch_norm, reference.histograms_key, []
def forgetful(pair, norm):
    calls.append(norm)
    if len(calls) != int(place):
        absorb(pair, norm)
def counted(*given, **more):
    calls.clear()
    return whole(*given, **more)
fold._absorb, fold._check, reference.fold_batch_norm = forgetful, lambda *_: None, counted
reference.histograms_key = lambda *given: f"skipped_{place}_{key(*given)}"
sys.exit(cli.main(arguments))
"""
SKIPPED = {"BN fold of the first layer skipped": "1", "BN fold of the tenth layer skipped": "10"}
FREE = ("calib", "calib_options", "granularity", "weight_bits", "fold_bn", "seed")


def measure(folder: Path) -> dict[str, Results]:
    """The results by what was done, those of the seeds first; what is not in the folder yet is measured."""
    models = f"model={','.join(NETWORKS)}"
    run = ["-c", "import sys; from quantbench.cli.main import main; sys.exit(main(sys.argv[1:]))"]
    wanted = {"another calibration seed": (run, (f"seed=range(0,{SEEDS})",))}
    wanted |= {what: (run, overrides) for what, overrides in PLANTS.items()}
    wanted |= {what: (["-c", SKIP, place], ("fold_bn=true",)) for what, place in SKIPPED.items()}
    sides = {}
    for number, (what, (program, overrides)) in enumerate(wanted.items()):
        result = folder / str(number)
        command = [sys.executable, *program, "run", "-m", models, *overrides, *COMMON, f"results_dir={result}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        sides[what] = load_results(result)
    return sides


def verdict(baseline: Results, old: Row, new: Results, row: Row, with_samples: bool) -> Judged:
    """What the gate says where the new row claims the recipe of the old one."""
    claimed = replace(row, **{column: getattr(old, column) for column in FREE})
    pair = Pair(old, claimed)
    sides = [side if with_samples else replace(side, details={}) for side in (baseline, new)]
    (judged,) = judge([(pair, evidence(pair, *sides))], RULES)
    return judged


def lines(sides: dict[str, Results]) -> Iterator[list[object]]:
    """A line for each network, for what was done to it, by samples and by intervals."""
    seeds, *_ = sides.values()
    for network in NETWORKS:
        before = [row for row in seeds.rows if row.model == network]
        for what, side in sides.items():
            now = [row for row in side.rows if row.model == network]
            for by, with_samples in (("samples", True), ("intervals", False)):
                found = [
                    verdict(seeds, old, side, new, with_samples)
                    for old in before
                    for new in now
                    if old.cell != new.cell
                ]
                yield [network, what, by, len(found), *figures(found)]


def figures(found: list[Judged]) -> list[object]:
    """How often each outcome came up, and the drops, in points."""
    counts = Counter(row.outcome for row in found)
    drops = [row.drop for row in found]
    smallest = sum(row.detectable for row in found) / len(found)
    points = (sum(drops) / len(drops), max(drops), smallest)
    return [*(counts[outcome] for outcome in (Outcome.HELD, Outcome.UNDECIDED, Outcome.DROPPED))] + [
        f"{value:.2f}" for value in points
    ]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/gate_reruns.py FOLDER, for what it measures")
    made = list(lines(measure(Path(sys.argv[1]))))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(made)
