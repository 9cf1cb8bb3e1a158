"""The hub's cache with a hub that the test makes: a folder, of which snapshot_download takes what it is asked for."""

import json
import shutil
import socket
import threading
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from quantbench.assets import huggingface as hub
from quantbench.assets.huggingface import Absent, folder_of, has_tokenizer, network_folder, text_files, weight_files

TEXT = ("config.json", "tokenizer.json", "tokenizer_config.json")
SHARDS = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


class Hub:
    """Stands for the hub and its cache; `asked` are the patterns of every download."""

    def __init__(self, root: Path) -> None:
        self.remote, self.cache = root / "remote", root / "cache"
        self.remote.mkdir()
        self.asked: list[list[str]] = []
        self.down = False

    def publish(self, *names: str) -> None:
        for name in names:
            (self.remote / name).parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps({"weight_map": SHARDS}) if name.endswith(".index.json") else "remote"
            (self.remote / name).write_text(content)

    def keep(self, *names: str) -> None:
        self.cache.mkdir(exist_ok=True)
        for name in names:
            shutil.copy(self.remote / name, self.cache / name)

    def snapshot_download(self, hub, repo_type, allow_patterns, local_files_only=False, etag_timeout=None):
        if local_files_only:
            if not self.cache.is_dir():
                raise LocalEntryNotFoundError("not there")
            return str(self.cache)
        self.asked.append(allow_patterns)
        self.cache.mkdir(exist_ok=True)
        for path in self.remote.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, self.cache)
        return str(self.cache)

    def repo_info(self, hub, repo_type, timeout):
        assert 0 < timeout <= 10
        if self.down:
            raise ConnectionError("Got: nothing\n  from the hub")


@pytest.fixture
def made(tmp_path, monkeypatch):
    found = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", found.snapshot_download)
    monkeypatch.setattr(
        huggingface_hub.HfApi, "repo_info", lambda _, *args, **options: found.repo_info(*args, **options)
    )
    return found


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_safetensors_are_downloaded_and_nothing_else(made):
    made.publish(*TEXT, "model.safetensors", "pytorch_model.bin", "tf_model.h5", "vocab.txt", "README.md")
    folder = network_folder("some/network", weights=True)
    assert names(folder) == sorted([*TEXT, "model.safetensors", "vocab.txt"])
    assert weight_files(folder) == [folder / "model.safetensors"]


def test_old_weights_are_downloaded_where_there_are_no_others(made):
    made.publish(*TEXT, "pytorch_model.bin", "tf_model.h5")
    folder = network_folder("some/network", weights=True)
    assert weight_files(folder) == [folder / "pytorch_model.bin"]
    made.down = True
    assert network_folder("some/network", weights=True) == folder


def test_what_speech_networks_need_beside_their_weights_is_downloaded(made):
    needed = ("generation_config.json", "preprocessor_config.json")
    made.publish(*TEXT, *needed, "model.safetensors", "training_args.bin")
    assert names(network_folder("some/network", weights=True)) == sorted([*TEXT, *needed, "model.safetensors"])


def test_weights_in_ctranslate2s_format_count_where_there_are_no_others(tmp_path):
    (tmp_path / "model.bin").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.bin"]
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]


def test_configuration_and_tokenizer_need_no_weights(made):
    made.publish(*TEXT, "model.safetensors")
    folder = network_folder("some/network", weights=False)
    assert names(folder) == sorted(TEXT)
    # What is there without weights is not enough for those who need them.
    assert weight_files(network_folder("some/network", weights=True)) == [folder / "model.safetensors"]


def test_what_is_there_is_taken_without_asking(made):
    made.publish(*TEXT, "model.safetensors")
    made.keep(*TEXT, "model.safetensors")
    made.down = True
    for weights in (True, False):
        assert network_folder("some/network", weights) == made.cache
    assert made.asked == []


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_part_that_another_program_left_is_completed(made, missing):
    made.publish(*(everything := ("config.json", "tokenizer.json", "model.safetensors")))
    made.keep(*(name for name in everything if name != missing))
    assert (network_folder("some/network", weights=True) / missing).is_file()


def test_a_download_in_parts_that_broke_off_is_completed(made):
    index = "model.safetensors.index.json"
    made.publish(*TEXT, index, *SHARDS.values())
    made.keep(*TEXT, index, SHARDS["a"])
    assert (network_folder("some/network", weights=True) / SHARDS["b"]).is_file()
    assert len(made.asked) == 1
    network_folder("some/network", weights=True)
    assert len(made.asked) == 1
    (made.cache / index).write_text("{cut")
    network_folder("some/network", weights=True)
    assert len(made.asked) == 2


def test_an_unreachable_hub_is_said_in_one_line(made):
    made.publish(*TEXT)
    made.down = True
    with pytest.raises(Absent, match=r"^nothing from the hub$"):
        network_folder("some/network", weights=True)
    made.keep(*TEXT)
    with pytest.raises(Absent, match=r"^nothing from the hub$"):
        network_folder("some/network", weights=True)


@pytest.mark.parametrize("name", ["no such/name", "a/b/c", "../up", ""])
def test_what_cannot_be_a_name_of_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(Absent, match=r"^[^\n]+$"):
        network_folder(name, weights=True)


def test_a_hub_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        api = huggingface_hub.HfApi
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api(endpoint=endpoint))
        failed: list[Absent] = []

        def ask():
            with pytest.raises(Absent) as error:
                network_folder("some/network", weights=True)
            failed.append(error.value)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(10)
    assert not asking.is_alive() and "timed out" in str(failed[0])


def test_data_sets_are_taken_where_all_is_there(made):
    made.publish("train.parquet", "test.parquet")
    made.keep("train.parquet")
    folder = folder_of("some/data", ("*.parquet",), lambda found: (found / "test.parquet").is_file(), "dataset")
    assert names(folder) == ["test.parquet", "train.parquet"]


def test_files_of_a_folder(tmp_path):
    for name in ("config.json", "vocab.txt", "merges.txt", "model.safetensors", "pytorch_model.bin", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "tokenizer").mkdir()
    assert [path.name for path in text_files(tmp_path)] == ["config.json", "merges.txt", "vocab.txt"]
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]
    assert has_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    assert not has_tokenizer(tmp_path)
