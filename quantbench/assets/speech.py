"""The assets of the speech networks and tasks."""

from __future__ import annotations

from quantbench.assets.asset import Asset, Debian, File

ASSETS = (
    Asset(
        name="amazon_queen",
        description="Flight of the Amazon Queen, a game of 1995: 3.2 h of acted English with its text",
        licence="freeware, free to redistribute with its readme (readme.txt, kept beside it)",
        size=34_859_620,
        sources=(Debian("flight-of-the-amazon-queen=1.0.0-9"), Debian("flight-of-the-amazon-queen")),
        files=(
            File(
                "queen.1c",
                "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c",
                54_108_887,
                "cc91960d133fcd4173eda4bac304e80d2bbdbaa085640287ab9e0507bd603f67",
            ),
            File(
                "readme.txt",
                "usr/share/doc/flight-of-the-amazon-queen/readme.txt.gz",
                5_351,
                "815ce5fe1f12f0c92dbe3b08e087e449ea7ed323dd16190c1161d75c7f691a03",
            ),
        ),
    ),
)
