import subprocess
import sys

import pytest

from quantbench.assets import ASSETS, Installed, fetch, status
from quantbench.assets.content import content_sha256


def test_the_catalogue_is_read_without_the_slow_libraries():
    code = "import sys, quantbench.assets; print({'torch', 'timm', 'rich', 'numpy', 'filelock'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_catalogue_is_complete():
    for name, asset in ASSETS.items():
        assert "-" not in name  # it ends the name in that of a download folder
        assert asset.name == name and asset.licence and asset.description and asset.size > 0
        assert any(not isinstance(source, Installed) for source in asset.sources), name
        for entry in asset.files:
            assert len(entry.sha256) == 64 and entry.size > 0 and "/" not in entry.name
            assert ".." not in entry.member and not entry.member.startswith("/")
    assert len(ASSETS["foolbox_photos"].files) == 20


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_every_asset_can_be_fetched(name):
    folder = fetch(name)
    assert status(name) == "present"
    for entry in ASSETS[name].files:
        assert content_sha256(folder / entry.name) == entry.sha256
