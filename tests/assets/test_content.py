import os

import pytest

from quantbench.assets.content import content_sha256


@pytest.mark.parametrize("way", ["in place", "by rename"])
def test_a_file_that_was_replaced_is_seen_whatever_its_size_and_time_say(tmp_path, way):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"first")
    os.utime(path, ns=(1, 1))
    first = content_sha256(path)
    new = path if way == "in place" else tmp_path / "new"
    new.write_bytes(b"other")
    os.utime(new, ns=(1, 1))
    os.replace(new, path)
    assert path.stat().st_mtime_ns == 1 and content_sha256(path) != first
