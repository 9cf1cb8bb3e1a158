"""All assets by name."""

from __future__ import annotations

from quantbench.assets import language, speech, vision
from quantbench.assets.asset import Asset

ASSETS: dict[str, Asset] = {asset.name: asset for asset in (*vision.ASSETS, *language.ASSETS, *speech.ASSETS)}
