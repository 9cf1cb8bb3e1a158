"""Draws the split of the speech clips into training, held-out and test clips, which is committed.

    python scripts/split_talkie.py > quantbench/tasks/amazon_queen/split.txt

Test and held-out clips are those of whole characters, women and men, that --seed draws; characters with more than
MOST clips are needed to train on. A text that the test has too is left out of the held-out clips, and one that either
has is left out of training.
"""

from __future__ import annotations

import argparse
from collections import Counter

from quantbench.tasks.amazon_queen.clips import clips
from quantbench.tasks.sampling import by_hash

WOMEN = {"tam", "zombie", "faye", "sec", "naomi", "prin", "lola", "showeram"}
MOST = 130
WANTED = {"test": (110, 210), "held_out": (50, 100)}  # clips of women and of men, at least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seed = str(parser.parse_args().seed)
    every = list(clips().values())
    counts = Counter(clip.speaker for clip in every)
    small = [speaker for speaker in sorted(counts) if counts[speaker] <= MOST]
    order = by_hash(small, small, seed)
    part_of: dict[str, str] = {}
    for part, wanted in WANTED.items():
        for sex, least in zip((True, False), wanted, strict=True):
            of_sex = [speaker for speaker in order if (speaker in WOMEN) == sex and speaker not in part_of]
            while least > 0:
                speaker = of_sex.pop(0)
                part_of[speaker] = part
                least -= counts[speaker]
    said: set[str] = set()
    print(f"# split and id of every clip; drawn by scripts/split_talkie.py --seed {seed}")
    for part in ("test", "held_out", "train"):
        mine = [clip for clip in every if part_of.get(clip.speaker, "train") == part and clip.text not in said]
        said |= {clip.text for clip in mine}
        print("\n".join(f"{part} {clip.id}" for clip in mine))


if __name__ == "__main__":
    main()
