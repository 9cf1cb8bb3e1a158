"""Rows in words, on the way to a terminal, a page or a log: a CSV may come from anyone."""

from __future__ import annotations

from quantbench.console import clean, harmless
from quantbench.results.record import Row

LONGEST = 200
DEFAULT = ("", "ptq", "simulate")  # method and backend
# Of the choices in conf/task, by the name of the task.
CALIBRATION_SAMPLES = {
    **{"amazon_queen": (16, 128), "fashion_mnist": (1024,), "imagenet": (1024,), "imagenet_photos": (256,)},
    **{"lee_news": (128,), "librispeech": (2703,), "movie_sentences": (256,), "squad": (128,), "synthetic": (8,)},
    "trec": (256,),
}


def shown(text: object) -> str:
    """One line without control characters, not endless, and no command to a CI that reads the log."""
    words = harmless(clean(str(text)))
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."


def named(row: Row) -> str:
    """A row in words: network, task and recipe."""
    return f"{shown(row.model)} on {shown(row.task)}, {recipe(row)}"


def structure(row: Row) -> str:
    """What a row without a metric says, such as `agreement 87.50 %, SQNR 23.1 dB on 8 random inputs (...)`."""
    agreement = "" if row.agreement is None else f"agreement {row.agreement:.2f} %"
    noise = "no SQNR" if row.sqnr_db is None else f"SQNR {row.sqnr_db:.1f} dB"
    figures = ", ".join(filter(None, (agreement, noise)))
    return f"{figures} on {row.samples or 0:,} random inputs (task {row.task}: no accuracy)"


def _choice(name: str | None, options: str | None) -> str:
    return " ".join(filter(None, (name, options)))


def _has_own_calibration(row: Row) -> bool:
    """Whether fewer or more samples calibrated than the task's default, and the options do not say so."""
    usual = CALIBRATION_SAMPLES.get(row.task)
    said = "calibration_samples=" in (row.task_options or "")
    return bool(usual and row.calibration_samples and row.calibration_samples not in usual and not said)


def recipe(row: Row) -> str:
    """A scheme in a few words, such as `w8 per_channel, a8 entropy`: with all that tells it from the default."""
    activations = "activations float"
    if row.activation_bits is not None:
        options = row.calib_options if row.percentile is None else f"{row.percentile:.10g}"
        activations = " ".join(filter(None, (f"a{row.activation_bits}", row.calib, options)))
    extras = {
        str(row.mapping): row.mapping != "scale",
        "bn folded": row.fold_bn,
        "residual adds": row.residual_adds,
        "" if row.gelu_bound is None else f"GELU{row.gelu_bound:.10g}": row.gelu_bound,
        f"without {row.skip_layers}": row.skip_layers,
        _choice(row.method, row.method_options): row.method_options or row.method not in (None, *DEFAULT),
        _choice(row.backend, row.backend_options): row.backend_options or row.backend not in (None, *DEFAULT),
        str(row.model_options): row.model_options,
        str(row.task_options): row.task_options,
        f"{row.calibration_samples} calibration samples": _has_own_calibration(row),
        f"seed {row.seed}": row.seed,
    }
    said = [word for word, differs in extras.items() if differs]
    return shown(", ".join([f"w{row.weight_bits} {row.granularity}", activations, *said]))
