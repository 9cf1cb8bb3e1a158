"""Which code a configuration may name.

Hydra calls what its own part of a configuration names: a launcher, a sweeper, callbacks, the classes of its logging. A
file of a --config-dir may have come from anyone, so nothing but a few known classes may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quantbench.errors import UserError
from quantbench.sweep.interpolations import check_interpolations

if TYPE_CHECKING:
    from omegaconf import DictConfig

Path = tuple[str, ...]

SWEEPER = "hydra_plugins.quantbench_sweeper.PlannedSweeper"
CALLBACKS = tuple(f"hydra.experimental.callbacks.{name}" for name in ("LogJobReturnCallback", "PickleJobInfoCallback"))
LOGGING = (
    *("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter", "logging.Filter"),
    "colorlog.ColoredFormatter",
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
ENVIRONMENT = (
    *("QUANTBENCH_RUN", "QUANTBENCH_CACHE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "NUMEXPR_NUM_THREADS", "TMPDIR", "XDG_CACHE_HOME"),
    *("HF_HOME", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"),
)
"""What hydra.job.env_set may set. Others, such as LD_PRELOAD, PATH or PIP_INDEX_URL, make programs run code."""

_INSTANTIATED, _LOGGING = ("launcher", "sweeper", "callbacks"), ("job_logging", "hydra_logging")
_WHOLE = re.compile(r"\$\{[^${}]*\}")
_PLAIN = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
_ENV = re.compile(r"\$\{oc\.env:[^${}]*\}")
_DEEPEST = 20


def check_config(config: DictConfig) -> None:
    """Raises UserError, which names the key, if a composed configuration names code, or cannot be resolved.

    `config` has Hydra's part too. Texts are looked at as they were written and as they resolve: what Hydra calls must
    stand there in plain letters.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    written = OmegaConf.to_container(config, resolve=False)
    assert isinstance(written, dict)
    check_interpolations(config)
    hydra = written["hydra"]
    if hydra.get("searchpath"):
        from quantbench.sweep.config_files import SEARCHPATH

        raise UserError(SEARCHPATH)
    _check_environment(hydra["job"].get("env_set"))
    launchers = _launchers()
    for part in (*_INSTANTIATED, *_LOGGING):
        for path, value in _as_written(written, hydra.get(part), ("hydra", part)):
            _check(path, value, launchers)
        try:
            resolved = OmegaConf.to_container(config.hydra[part], resolve=True) if config.hydra[part] else None
        except OmegaConfBaseException as error:
            raise UserError(f"hydra.{part}: {' '.join(str(error).split())}") from error
        for path, value in _leaves(resolved, ("hydra", part)):
            if path[-1] != "filename":
                _check(path, value, launchers)


def _launchers() -> tuple[str, ...]:
    """The launchers of Hydra and of the plugins that are installed: Hydra has imported them already."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher

    found = (f"{launcher.__module__}.{launcher.__qualname__}" for launcher in Plugins.instance().discover(Launcher))
    return tuple(sorted(name for name in found if name.startswith(("hydra.", "hydra_plugins."))))


def _check_environment(settings: Any) -> None:
    if not isinstance(settings, Mapping | None):
        raise UserError(f"hydra.job.env_set={settings}: must be a mapping, without interpolation")
    for name in settings or {}:
        if name not in ENVIRONMENT:
            raise UserError(
                f"hydra.job.env_set.{name}: only {', '.join(ENVIRONMENT)} may be set there; export it instead"
            )


def _check(path: Path, value: Any, launchers: tuple[str, ...]) -> None:
    part, last = path[1], path[-1]
    if "_target_" in path:
        allowed = {
            ("hydra", "launcher", "_target_"): launchers,
            ("hydra", "sweeper", "_target_"): (SWEEPER,),
            ("hydra", "callbacks", *path[2:3], "_target_"): CALLBACKS,
        }.get(path, ())
        _refuse_unless(value in allowed, path, value, allowed)
    if part in _LOGGING:
        if last in ("()", "class", "factory"):
            _refuse_unless(value in LOGGING, path, value, LOGGING)
        _refuse_unless("." not in path, path, value, ())
        if isinstance(value, str) and re.match(r"(ext|cfg)://", value):
            _refuse_unless(value in STREAMS, path, value, STREAMS)
        if last == "filename":
            _refuse_unless(value == LOG_FILE, path, value, (LOG_FILE,))


def _refuse_unless(is_allowed: bool, path: Path, value: Any, allowed: tuple[str, ...]) -> None:
    if not is_allowed:
        choice = f"one of {', '.join(allowed)}" if allowed else "nothing"
        raise UserError(f"{'.'.join(path)}={value}: what Hydra calls or opens may be {choice} here; remove the key")


def _leaves(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _leaves(child, (*path, str(key)))
    elif isinstance(node, list):
        for place, child in enumerate(node):
            yield from _leaves(child, (*path, str(place)))
    else:
        yield path, node


def _as_written(root: Mapping[Any, Any], node: Any, path: Path, depth: int = 0) -> Iterator[tuple[Path, Any]]:
    """The leaves below a node; where one is nothing but an interpolation, those of what it stands for."""
    for place, value in _leaves(node, path):
        if not isinstance(value, str) or not value.startswith("${"):
            yield place, value
            continue
        whole = _WHOLE.match(value)
        if (whole and whole.end() < len(value)) or _ENV.fullmatch(value):
            yield place, value  # a text, whatever is in it
            continue
        plain = _PLAIN.fullmatch(value)
        if not plain or depth > _DEEPEST:
            raise UserError(f"{'.'.join(place)}={value}: an interpolation must be plain here, such as ${{key}}")
        found: Any = root
        for word in plain[1].split("."):
            if not isinstance(found, Mapping) or word not in found:
                raise UserError(f"{'.'.join(place)}={value}: there is no such key, written as a mapping")
            found = found[word]
        yield from _as_written(root, found, place, depth + 1)
