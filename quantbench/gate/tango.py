"""Tango's score test: how many of the same answers were lost and won, and which true drops that excludes."""

from __future__ import annotations

import math

BISECTIONS = 60  # bounds are exact to 2e-18 of a share


def tango_score(lost: float, won: float, samples: int, drop: float) -> float:
    """The score statistic of "the true drop is `drop`": standard normal where it is; large where it is more.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17. Its variance is that under the hypothesis tested. An interval with the observed
    variance (Wald's, or Agresti and Min's) calls a drop of 1 % excluded because few answers happened to change; this
    one does not.

    Args:
        lost: answers that became wrong.
        won: answers that became right.
        samples: of which these are some.
        drop: a share of the samples, from -1 to 1.
    """
    observed = lost - won - samples * drop
    # Of the quadratic equation whose root is the likeliest share of won answers under the hypothesis.
    a = 2 * samples
    b = -lost - won + (2 * samples - lost + won) * drop
    c = -won * drop * (1 - drop)
    share_won = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = samples * (2 * share_won + drop * (1 - drop))
    if variance <= 0:
        return 0.0 if abs(observed) < 1e-9 else math.copysign(math.inf, observed)
    return observed / math.sqrt(variance)


def tango_bounds(lost: float, won: float, samples: int, quantile: float) -> tuple[float, float]:
    """The drops, as shares, that the score test just does not exclude at `quantile` of the normal distribution."""
    return _tango_drop(lost, won, samples, quantile), _tango_drop(lost, won, samples, -quantile)


def _tango_drop(lost: float, won: float, samples: int, wanted: float) -> float:
    """The drop at which the statistic, which falls as the drop rises, has the wanted value."""
    low, high = -1.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if tango_score(lost, won, samples, middle) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
