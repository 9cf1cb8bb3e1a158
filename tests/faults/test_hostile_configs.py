"""A --config-dir from anyone: it runs no code, writes nothing, takes no end of memory, and ends in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quantbench.cli import main as cli
from tests.shared import refused

FILE = "calib/mine.yaml"


@pytest.fixture
def place(folder):
    """A folder with a config group of one's own, and the trace that code would leave."""
    (folder / "conf").mkdir()
    return folder


def write(place: Path, name: str, text: str) -> None:
    path = place / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("TRACE", str(place / "trace")))


def evil(target: str, args: str = "[[touch, TRACE]]") -> str:
    return f"{{_target_: {target}, _args_: {args}}}"


CODE = {
    "another sweeper": ("hydra: {sweeper: {_target_: os.mkdir, path: TRACE}}", "hydra.sweeper._target_=os.mkdir"),
    "values of a sweep": (
        "hydra: {sweeper: {params: {limit: [{_target_: os.mkdir, path: TRACE}]}}}",
        "hydra.sweeper.params.limit.0._target_=os.mkdir",
    ),
    "callback": (f"hydra: {{callbacks: {{x: {evil('os.mkdir', '[TRACE]')}}}}}", "hydra.callbacks.x._target_=os.mkdir"),
    "elsewhere": (
        "stash: {_target_: os.mkdir, path: TRACE}\nhydra: {callbacks: {x: '${stash}'}}",
        "hydra.callbacks.x._target_=os.mkdir",
    ),
    "elsewhere by two steps": (
        "stash: {_target_: os.mkdir, path: TRACE}\nstep: ${stash}\nhydra: {callbacks: {x: '${step}'}}",
        "hydra.callbacks.x._target_=os.mkdir",
    ),
    "elsewhere by a name that changes": (
        "stash: {_target_: os.mkdir, path: TRACE}\nhydra: {callbacks: {x: '${oc.select:${now:stash}}'}}",
        "hydra.callbacks.x=${oc.select:${now:stash}}: an interpolation must be plain",
    ),
    "a target that is put together": (
        "name: mkdir\nhydra: {callbacks: {x: {_target_: 'os.${name}', path: TRACE}}}",
        "hydra.callbacks.x._target_=os.${name}",
    ),
    "logging handler": (
        "hydra: {job_logging: {root: {handlers: [x]}, handlers: {x: {(): os.mkdir, path: TRACE}}}}",
        "hydra.job_logging.handlers.x.()=os.mkdir",
    ),
    "logging class": (
        "hydra: {hydra_logging: {root: {handlers: [x]}, handlers: {x: {class: os.mkdir, path: TRACE}}}}",
        "hydra.hydra_logging.handlers.x.class=os.mkdir",
    ),
    "logging formatter": (
        "hydra: {job_logging: {root: {handlers: []}, formatters: {x: {(): logging.os.mkdir, path: TRACE}}}}",
        "hydra.job_logging.formatters.x.()=logging.os.mkdir",
    ),
    "logging configuration": (
        "hydra: {job_logging: {root: {}, filters: {x: {(): logging.config.fileConfig, fname: x}}}}",
        "hydra.job_logging.filters.x.()=logging.config.fileConfig",
    ),
    "logging import": (
        "hydra: {job_logging: {root: {}, handlers: {x: {class: logging.StreamHandler, stream: 'ext://antigravity.x'}}}}",
        "hydra.job_logging.handlers.x.stream=ext://antigravity.x",
    ),
    "logging import put together": (
        "name: antigravity\nhydra: {job_logging: {root: {}, x: '${now:ext}://${name}.x'}}",
        "hydra.job_logging.x=ext://antigravity.x",
    ),
    "logging to a file": (
        "hydra: {job_logging: {root: {handlers: [x]}, handlers: {x: {class: logging.FileHandler, filename: TRACE}}}}",
        "hydra.job_logging.handlers.x.filename=",
    ),
    "logging to a file, by a relative name": (
        "evil: {class: logging.FileHandler, filename: TRACE}\n"
        "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: {x: '${....evil}'}}}",
        "hydra.job_logging.handlers.x=${....evil}: an interpolation must be plain",
    ),
    "interpolations without end": (
        "hydra: {callbacks: {c: {_target_: hydra.experimental.callbacks.LogJobReturnCallback, a0: aaaa, "
        + ", ".join(f"a{i}: '${{.a{i - 1}}}${{.a{i - 1}}}'" for i in range(1, 31))
        + "}}}",
        "interpolations: at most 40 below hydra",
    ),
    "logging attribute": (
        "hydra: {job_logging: {root: {}, handlers: {x: {class: logging.NullHandler, .: {emit: 1}}}}}",
        "hydra.job_logging.handlers.x...emit=1",
    ),
    "environment": (
        "hydra: {job: {env_set: {LD_PRELOAD: /tmp/evil.so}}}",
        "hydra.job.env_set.LD_PRELOAD: only QUANTBENCH_RUN",
    ),
}

COMMANDS = {
    "run": ("run",),
    "sweep": ("run", "-m", "calib=max,entropy"),
    "inspect": ("inspect", "model.weights=random"),
    "plot": ("plot", "histogram", "site=conv1"),
    "shown": ("run", "--cfg", "job"),
    "help": ("run", "--hydra-help"),
}


@pytest.mark.parametrize("kind", CODE)
def test_no_code_of_an_experiment_runs(place, capsys, kind):
    text, said = CODE[kind]
    write(place, "experiment/mine.yaml", f"# @package _global_\n{text}\n")
    assert said in refused(capsys, "run", "--config-dir", "conf", "experiment=mine", "hydra.mode=RUN")
    assert not (place / "trace").exists() and not (place / "quantbench-results").exists()


LAUNCHERS = {
    "subprocess.run": "hydra.launcher._target_=subprocess.run",
    "hydra.core.utils.os.mkdir": "hydra.launcher._target_=hydra.core.utils.os.mkdir",
    "hydra_plugins.quantbench_sweeper.os.mkdir": "hydra.launcher._target_=hydra_plugins.quantbench_sweeper.os.mkdir",
    "logging.os.mkdir": "hydra.launcher._target_=logging.os.mkdir",
}


@pytest.mark.parametrize("target", LAUNCHERS)
def test_no_launcher_is_a_name_that_leads_through_a_module_of_hydra(place, capsys, target):
    write(place, "hydra/launcher/mine.yaml", f"_target_: {target}\n_args_: [TRACE]\n")
    said = refused(capsys, "run", "-m", "--config-dir", "conf", "hydra/launcher=mine", "calib=max,mse")
    assert LAUNCHERS[target] in said and not (place / "trace").exists()


def test_nothing_inside_a_launcher_is_called(place, capsys):
    write(
        place,
        "hydra/launcher/mine.yaml",
        "_target_: hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher\n"
        "n_jobs: {_target_: os.mkdir, path: TRACE}\n",
    )
    said = refused(capsys, "run", "-m", "--config-dir", "conf", "hydra/launcher=mine", "calib=max,mse")
    assert "hydra.launcher.n_jobs._target_=os.mkdir" in said and not (place / "trace").exists()


@pytest.mark.parametrize(
    ("group", "command"),
    [
        *(("calib", command) for command in COMMANDS),
        *((group, "run") for group in ("model", "task", "suite", "hydra/callbacks")),
    ],
)
def test_no_command_runs_the_code_of_any_group(place, capsys, group, command):
    head = "# @package _global_\n" if group.startswith("hydra") else "# @package _global_\ncalib: {name: max}\n"
    write(place, f"{group}/mine.yaml", f"{head}hydra: {{callbacks: {{x: {evil('os.mkdir', '[TRACE]')}}}}}\n")
    said = refused(capsys, *COMMANDS[command], "--config-dir", "conf", f"{group}=mine")
    assert "hydra.callbacks.x._target_=os.mkdir" in said and not (place / "trace").exists()


HIDDEN = """# @package _global_
calib: {name: max}
hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.LogJobReturnCallback}}}
"""


def test_code_that_every_variant_of_a_sweep_hides(place, capsys):
    """Hydra's own configuration of a sweep has the choices that are not swept only: it makes launcher and callbacks."""
    write(
        place,
        "experiment/mine.yaml",
        f"# @package _global_\nhydra: {{callbacks: {{x: {evil('os.mkdir', '[TRACE]')}}}}}\n",
    )
    for name in ("a", "b"):
        write(place, f"veil/{name}.yaml", HIDDEN)
    said = refused(capsys, "run", "-m", "--config-dir", "conf", "experiment=mine", "+veil=a,b")
    assert "hydra.callbacks.x._target_=os.mkdir" in said and not (place / "trace").exists()


def test_code_of_one_combination_of_a_sweep(place, capsys):
    """A sweep is tried one value at a time; its combinations are looked at before the first of them is launched."""
    log = "# @package _global_\nhydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: {x: {class: %s}}}}\n"
    write(place, "experiment/mine.yaml", log % "os.mkdir" + "TRACE: 1\n")
    write(place, "experiment/good.yaml", "# @package _global_\nlimit: 1\n")
    write(place, "veil/a.yaml", log % "logging.NullHandler")
    write(place, "veil/b.yaml", "{}\n")
    arguments = ["experiment=good,mine", "+veil=a,b", "weight_bits=99"]  # so that nothing runs anyway
    assert cli.main(["run", "-m", "--config-dir", "conf", *arguments]) == 2
    said = capsys.readouterr().err
    assert "hydra.job_logging.handlers.x.class=os.mkdir" in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hydra.launcher._target_=os.mkdir", "hydra.launcher._target_=os.mkdir"),
        ("hydra.sweeper._target_=os.mkdir", "hydra.sweeper._target_=os.mkdir"),
        ("+hydra.callbacks.x={_target_:os.mkdir,path:trace}", "hydra.callbacks.x._target_=os.mkdir"),
        ("hydra.searchpath=[pkg://antigravity]", "hydra.searchpath could import"),
        ("++hydra.searchpath=[pkg://antigravity]", "hydra.searchpath could import"),
        ("+hydra.job.env_set.PATH=/tmp", "hydra.job.env_set.PATH: only"),
    ],
)
def test_overrides_name_no_code_either(place, capsys, override, said):
    assert said in refused(capsys, "run", override)
    assert not (place / "trace").exists() and "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "text", ["hydra: {searchpath: ['pkg://planted']}", "# @package hydra\nsearchpath: ['pkg://planted']"]
)
def test_a_package_is_not_imported_to_look_for_files(place, text):
    """In a process of its own whose working folder is on sys.path, as with `python -m`."""
    (place / "planted").mkdir()
    (place / "planted" / "__init__.py").write_text(f"open({str(place / 'trace')!r}, 'w')\n")
    write(place, "mine.yaml", f"{text}\ndefaults: [config, _self_]\n")
    command = [
        sys.executable,
        "-m",
        "quantbench.cli.main",
        "run",
        "--cfg",
        "job",
        "--config-dir",
        "conf",
        "--config-name",
        "mine",
    ]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert not (place / "trace").exists()
    if not text.startswith("#"):  # with a package of its own Hydra does not take it for the search path
        assert done.returncode == 2 and "hydra.searchpath could import" in done.stderr


@pytest.mark.parametrize("option", [("--config-path", "conf"), ("--experimental-rerun", "conf/job.pickle")])
def test_options_of_hydra_that_go_around_the_check(place, capsys, option):
    said = refused(capsys, "run", *option)
    assert "--config-dir" in said or "pickle" in said


LAUGHS = "\n".join(["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)])
CHAIN = "\n".join(["b0: ''"] + [f"b{i}: ${{calib.b{i - 1}}}${{calib.b{i - 1}}}" for i in range(1, 40)])
WIDE = "\n".join(
    [f"b0: [{'1, ' * 1000}1]"] + [f"b{i}: ['${{calib.b{i - 1}}}', '${{calib.b{i - 1}}}']" for i in range(1, 7)]
)
LONG = "\n".join(["c0: ''"] + [f"c{i}: ${{calib.c{i - 1}}}" for i in range(1, 1500)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "name: !!python/object/apply:os.mkdir [TRACE]",
            "line 1: the tag tag:yaml.org,2002:python/object/apply:os.mkdir",
        ),
        ("name: !!python/name:os.system", "line 1: the tag"),
        ("name: !mine x", "line 1: the tag !mine"),
        (LAUGHS, "too much for a configuration"),
        ("a: &a [*a]", "the alias *a stands for nothing, or for what it is part of"),
        ("a: &a {b: *a}", "the alias *a stands for nothing, or for what it is part of"),
        ("name: max\nx: " + "[" * 60 + "]" * 60, "too much for a configuration"),
        ("name: max\nx: " + "y" * 300_000, "larger than any configuration"),
        ("name: max\n" + "\n".join(f"k{i}: [1, 2, 3, 4]" for i in range(5000)), "too much for a configuration"),
        ("- max", "line 1: must be a mapping"),
        ("max", "line 1: must be a mapping"),
        ("name: max\nname: mse", "duplicate key"),
        ("name: max\n---\nname: mse", "expected a single document"),
        ("name: [", "no YAML"),
        ("name: max\nx: ${calib.x}", "Recursive interpolation detected"),
        ("name: max\nx: ${calib.y}\ny: a${.x}", "Recursive interpolation detected"),
        ("name: max\nx: ${calib}", "Interpolation to parent node detected"),
        ("name: max\nx: ${nothing.there}", "Interpolation key 'nothing.there' not found"),
        ("name: max\nx: ${nothing:1}", "Unsupported interpolation type nothing"),
        ("name: max\nx: '${'", "no viable alternative at input '${'"),
        ("name: max\n" + CHAIN, "interpolations: at most 12 in a configuration"),
        ("name: max\n" + WIDE, "calib.b0: calib=max has no parameter"),
        ("name: max\n" + LONG, "interpolations: at most 12 in a configuration"),
    ],
)
def test_a_file_that_is_no_configuration(place, capsys, text, said):
    write(place, FILE, text)
    assert said in refused(capsys, "run", "--config-dir", "conf", "calib=mine")
    assert not (place / "trace").exists()


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\x01\0" * 50, "name: max".encode("utf-16"), b"name: \xff\xfe", b"\0"]
)
def test_a_file_that_is_no_text(place, capsys, content):
    write(place, FILE, "")
    (place / "conf" / FILE).write_bytes(content)
    assert "mine.yaml: no YAML" in refused(capsys, "run", "--config-dir", "conf", "calib=mine")
    assert cli.main(["list", "--config-dir", "conf"]) == 0
    assert "calib=mine" in capsys.readouterr().out


def test_a_name_with_escape_sequences_reaches_no_terminal(place, capsys):
    write(place, FILE, "# a \x1b[2Jdescription\n${\x1b]0;title\x07}: 1\n")
    assert "\x1b" not in refused(capsys, "run", "--config-dir", "conf", "calib=mine")
    assert cli.main(["list", "--config-dir", "conf"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_what_is_harmless_stays_possible(place, capsys):
    write(
        place,
        "experiment/mine.yaml",
        "# @package _global_\nhome: ${oc.env:HOME}\nfirst: ${calib.name}\nsecond: ${.first}-${now:%Y}\n"
        "limit: ${batch_size}\n"
        "hydra:\n  launcher: {n_jobs: 1}\n  job: {env_set: {OMP_NUM_THREADS: '1'}}\n"
        "  callbacks: {x: {_target_: hydra.experimental.callbacks.LogJobReturnCallback}}\n"
        "defaults: [{override /hydra/launcher: joblib}, {override /hydra/job_logging: default}]\n",
    )
    assert cli.main(["run", "--cfg", "job", "--config-dir", "conf", "experiment=mine"]) == 0
    assert "second: ${.first}-${now:%Y}" in capsys.readouterr().out
