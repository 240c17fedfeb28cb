"""How sure word error rates and their differences are: bootstrap, exact sign-flip test, Holm's correction.

B replications, R runs (trained networks), K units (speakers, or utterances where speakers are not known).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.int64]
Rates: TypeAlias = npt.NDArray[np.float64]

#: Replications of a bootstrap unless told otherwise, as in Kaldi's ``compute-wer-bootci``.
DEFAULT_REPLICATIONS = 10_000
#: Of the random draws.
DEFAULT_SEED = 777
_INTERVAL = (2.5, 97.5)
# Numbers of one block of resampled units: all at once would not fit where units are thousands of utterances.
_BLOCK = 1 << 22
_OF_UNITS, _OF_SEEDS = 1, 2


def resample_rates(
    errors: Counts, words: Counts, replications: int = DEFAULT_REPLICATIONS, seed: int = DEFAULT_SEED
) -> Rates:
    """Word error rates of runs on resampled units, the same units for all runs (Bisani and Ney, ICASSP 2004).

    Args:
        errors: of each run on each unit, shape ``(R, K)``.
        words: of the references of each unit, shape ``(K,)``.
        replications: B.
        seed: of the draws.

    Returns:
        Percent, shape ``(B, R)``; NaN where a replication drew no unit with words.
    """
    num_units = len(words)
    draws = np.random.default_rng([_OF_UNITS, seed])
    table = np.vstack([errors, words]).T.astype(np.float64)
    rates = np.empty((replications, len(errors)))
    block = max(1, _BLOCK // max(num_units, 1))
    for begin in range(0, replications, block):
        size = min(block, replications - begin)
        drawn = draws.integers(num_units, size=(size, num_units)) + num_units * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * num_units).reshape(size, num_units)
        sums = times @ table
        with np.errstate(divide="ignore", invalid="ignore"):
            rates[begin : begin + size] = np.where(
                sums[:, -1:] > 0.0, 100.0 * sums[:, :-1] / sums[:, -1:], np.nan
            )
    return rates


def seed_weights(num_seeds: int, replications: int = DEFAULT_REPLICATIONS, seed: int = DEFAULT_SEED) -> Rates:
    """The share of each seed in replications that resample seeds: ``(B, num_seeds)``, rows sum to one.

    Of n seeds n - 1 are drawn, which makes the variance of their mean the unbiased one (Rao and Wu, JASA 83,
    1988): seeds are so few that n draws would make it too small by (n - 1) / n.
    """
    draws = np.random.default_rng([_OF_SEEDS, num_seeds, seed])
    drawn = max(1, num_seeds - 1)
    return draws.multinomial(drawn, np.full(num_seeds, 1.0 / num_seeds), size=replications) / drawn


def mean_rates(rates: Rates, seed: int = DEFAULT_SEED) -> Rates:
    """Means over resampled seeds of the rates of one system on resampled units.

    Units and seeds are drawn independently of each other: Owen's pigeonhole bootstrap (Annals of Applied
    Statistics 1, 2007), whose intervals are rather too wide than too narrow.

    Args:
        rates: of the runs of the system, shape ``(B, seeds)``, from ``resample_rates``.
        seed: of the draws.

    Returns:
        Shape ``(B,)``. With one seed there is nothing to draw.
    """
    return (seed_weights(rates.shape[1], len(rates), seed) * rates).sum(axis=1)


def interval(values: Rates) -> tuple[float, float]:
    """The 95 % percentile interval of the values of a bootstrap; NaN are left out."""
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, _INTERVAL)
    return float(low), float(high)


def bootstrap_p(differences: Rates) -> float:
    """Two-sided p of no difference, from the differences of a paired bootstrap: shape ``(B,)``.

    Twice the share of replications on the other side of zero, the observed sample counted as one of them
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997), at most 1.
    """
    known = differences[~np.isnan(differences)]
    fewer = min(int((known <= 0.0).sum()), int((known >= 0.0).sum()))
    return min(1.0, 2.0 * (1 + fewer) / (1 + len(known)))


def sign_flip_p(differences: Counts) -> float:
    """Two-sided p of no difference between two systems: the exact sign-flip test on paired differences.

    If the systems were alike, each unit's difference would be as likely with the other sign (Fisher, The
    Design of Experiments, 1935, section 21). The share of all 2^K sign patterns whose sum is as far from zero
    as the one observed is found without listing them, by convolution (Pagano and Tritchler, JASA 78, 1983).

    Args:
        differences: of the errors of each unit, whole numbers, shape ``(K,)``.
    """
    sizes = np.abs(differences[differences != 0]).astype(np.int64)
    if not len(sizes):
        return 1.0
    observed = abs(int(differences.sum()))
    divisor = int(np.gcd.reduce(sizes))
    sizes, observed = sizes // divisor, observed // divisor
    # Entry n is the probability that the positive differences sum up to n; their sum decides that of all.
    share = np.zeros(int(sizes.sum()) + 1)
    share[0] = 1.0
    reached = 0
    for size in sizes.tolist():
        reached += size
        moved = share[: reached + 1 - size].copy()
        share[: reached + 1] *= 0.5
        share[size : reached + 1] += 0.5 * moved
    sums = np.abs(2 * np.arange(reached + 1) - reached)
    return min(1.0, float(share[sums >= observed].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: of one family of comparisons.

    Returns:
        The corrected ones in the same order: those up to alpha are significant at family-wise level alpha.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
