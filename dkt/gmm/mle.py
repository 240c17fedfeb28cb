"""Maximum-likelihood estimation of GMMs and transition probabilities, and mixing up (Kaldi's ``gmm-est``)."""

from __future__ import annotations

import copy
import heapq
from dataclasses import dataclass, field, replace

import numpy as np

from dkt.base.errors import DktError
from dkt.gmm.gmm import AmDiagGmm
from dkt.hmm.transition_model import TransitionModel

# Frames of one pdf that are scored at a time, so that memory stays bounded on any corpus.
_CHUNK_FRAMES = 4096


@dataclass
class GmmStats:
    """Sufficient statistics of aligned frames, in double precision (``AccumAmDiagGmm``).

    Legend: G Gaussians in all, F feature dimension, P pdfs.

    Attributes:
        occupancy: shape ``(G,)``, frames each Gaussian accounts for.
        moments: shape ``(G, 2 F)``, weighted sums of the features, then of their squares.
        transition_counts: shape ``(num_transition_ids + 1,)``, frames of every transition-id.
        loglike: the log-likelihood of all frames given their pdfs.
        num_frames: the number of frames.
    """

    occupancy: np.ndarray
    moments: np.ndarray
    transition_counts: np.ndarray
    loglike: float = 0.0
    num_frames: int = 0

    @classmethod
    def zeros(cls, gmm: AmDiagGmm, transitions: TransitionModel) -> GmmStats:
        """Empty statistics for ``gmm``."""
        return cls(
            np.zeros(gmm.num_gauss),
            np.zeros((gmm.num_gauss, 2 * gmm.dim)),
            np.zeros(transitions.num_transition_ids + 1),
        )

    def add(self, other: GmmStats) -> None:
        """Add the statistics of other frames."""
        self.occupancy += other.occupancy
        self.moments += other.moments
        self.transition_counts += other.transition_counts
        self.loglike += other.loglike
        self.num_frames += other.num_frames

    def pdf_occupancies(self, gmm: AmDiagGmm) -> np.ndarray:
        """Frames of every pdf, shape ``(P,)``."""
        return np.add.reduceat(self.occupancy, gmm.offsets[:-1])


def accumulate(
    gmm: AmDiagGmm, transitions: TransitionModel, features: np.ndarray, transition_ids: np.ndarray
) -> GmmStats:
    """Statistics of aligned frames (``gmm-acc-stats-ali``).

    Frames are grouped by pdf: only the Gaussians of a frame's own pdf are evaluated.

    Args:
        gmm: the model whose Gaussians share the frames out.
        transitions: the transition model of the alignment.
        features: shape ``(T, F)``; frames of several utterances may follow one another.
        transition_ids: shape ``(T,)``.

    Raises:
        DktError: the features have another dimension, or a likelihood overflows.
    """
    gmm.check_dim(features)
    stats = GmmStats.zeros(gmm, transitions)
    stats.num_frames = len(features)
    stats.transition_counts += np.bincount(transition_ids, minlength=len(stats.transition_counts))
    natural = gmm.natural.astype(np.float64)
    pdfs = transitions.id2pdf[transition_ids]
    order = np.argsort(pdfs, kind="stable")
    bounds = np.searchsorted(pdfs[order], np.arange(gmm.num_pdfs + 1))
    for pdf in np.flatnonzero(np.diff(bounds)):
        rows = gmm.gaussians(int(pdf))
        for start in range(bounds[pdf], bounds[pdf + 1], _CHUNK_FRAMES):
            frames = features[order[start : min(start + _CHUNK_FRAMES, bounds[pdf + 1])]].astype(np.float64)
            powers = np.hstack([frames, frames**2])
            loglike, posteriors = _posteriors(powers @ natural[rows].T + gmm.gconsts[rows])
            stats.loglike += loglike
            stats.occupancy[rows] += posteriors.sum(axis=0)
            stats.moments[rows] += posteriors.T @ powers
    if not np.isfinite(stats.loglike):
        raise DktError("the likelihood of a frame overflows", hint="look for absurd values in the features")
    return stats


def _posteriors(scores: np.ndarray) -> tuple[float, np.ndarray]:
    """From scores ``(T, g)`` of one pdf: total log-likelihood, and the Gaussians' posteriors ``(T, g)``."""
    highest = scores.max(axis=1, keepdims=True)
    likelihoods = np.exp(scores - highest)
    totals = likelihoods.sum(axis=1, keepdims=True)
    return float((np.log(totals) + highest).sum()), likelihoods / totals


@dataclass(frozen=True)
class MleOptions:
    """Options of the update, with Kaldi's names and defaults (``MleDiagGmmOptions``).

    Attributes:
        min_gaussian_weight: a Gaussian of a smaller share of its pdf's frames is removed.
        min_gaussian_occupancy: a Gaussian of fewer frames is removed.
        min_variance: the floor of variances.
        remove_low_count_gaussians: whether such Gaussians are removed, or kept as they are.
    """

    min_gaussian_weight: float = 1.0e-5
    min_gaussian_occupancy: float = 10.0
    min_variance: float = 0.001
    remove_low_count_gaussians: bool = True


@dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    Attributes:
        objf_change: improvement of the auxiliary function, in nats over all frames.
        num_floored: variance elements that were floored.
        num_removed: Gaussians that were removed.
    """

    objf_change: float = 0.0
    num_floored: int = 0
    num_removed: int = 0


def _objective(gmm: AmDiagGmm, stats: GmmStats) -> float:
    # MlObjective: the auxiliary function of EM, linear in the statistics.
    natural = gmm.natural.astype(np.float64)
    used = stats.occupancy > 0
    constants = stats.occupancy[used] * gmm.gconsts[used].astype(np.float64)
    return float(constants.sum() + (natural * stats.moments).sum())


def update_gmm(
    gmm: AmDiagGmm, stats: GmmStats, options: MleOptions | None = None, floors: np.ndarray | None = None
) -> tuple[AmDiagGmm, UpdateReport]:
    """The maximum-likelihood estimate from ``stats`` (``MleDiagGmmUpdate``).

    A Gaussian of too few frames is removed, except that the last one of a pdf stays as it is; the weights of
    a pdf that lost one are scaled to a sum of 1.

    Args:
        gmm: the model that the statistics were collected with.
        stats: see ``accumulate``.
        options: Kaldi's by default.
        floors: of the variances of each pdf, shape ``(P, F)``, where they are above ``options.min_variance``.
    """
    options = options or MleOptions()
    sizes = np.diff(gmm.offsets)
    totals = np.repeat(stats.pdf_occupancies(gmm), sizes)
    shares = np.where(
        totals > 0, stats.occupancy / np.where(totals > 0, totals, 1.0), 1.0 / np.repeat(sizes, sizes)
    )
    updated = (stats.occupancy > options.min_gaussian_occupancy) & (shares > options.min_gaussian_weight)
    removed = ~updated if options.remove_low_count_gaussians else np.zeros_like(updated)
    lost = np.logical_and.reduceat(removed, gmm.offsets[:-1])
    removed[gmm.offsets[1:][lost] - 1] = False  # a pdf keeps its last Gaussian

    floor = np.full((len(sizes), gmm.dim), options.min_variance)
    floor = np.repeat(floor if floors is None else np.maximum(floor, floors), sizes, axis=0)[updated]
    means, variances, num_floored = _moments_to_gaussians(stats, updated, floor)
    inv_vars, means_invvars = gmm.inv_vars.copy(), gmm.means_invvars.copy()
    inv_vars[updated] = 1.0 / variances
    means_invvars[updated] = means / variances
    weights = np.where(updated, shares, np.maximum(shares, options.min_gaussian_weight))
    whole = AmDiagGmm(gmm.offsets, weights, means_invvars, inv_vars)
    report = UpdateReport(_objective(whole, stats) - _objective(gmm, stats), num_floored, int(removed.sum()))
    return (_remove(whole, removed) if removed.any() else whole), report


def _moments_to_gaussians(
    stats: GmmStats, updated: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    dim = stats.moments.shape[1] // 2
    averages = stats.moments[updated] / stats.occupancy[updated, None]
    means = averages[:, :dim]
    variances = averages[:, dim:] - means**2
    return means, np.maximum(variances, floor), int((variances < floor).sum())


def _remove(gmm: AmDiagGmm, removed: np.ndarray) -> AmDiagGmm:
    starts, sizes = gmm.offsets[:-1], np.diff(gmm.offsets)
    num_removed = np.add.reduceat(removed.astype(np.int64), starts)
    kept_weights = np.where(removed, 0.0, gmm.weights.astype(np.float64))
    scale = np.where(num_removed > 0, 1.0 / np.add.reduceat(kept_weights, starts), 1.0)
    weights = (kept_weights * np.repeat(scale, sizes))[~removed]
    offsets = np.concatenate([[0], np.cumsum(sizes - num_removed)])
    return AmDiagGmm(offsets, weights, gmm.means_invvars[~removed], gmm.inv_vars[~removed])


def update_transitions(
    transitions: TransitionModel, counts: np.ndarray, floor: float = 0.01, mincount: float = 5.0
) -> TransitionModel:
    """The maximum-likelihood estimate of the transition probabilities (``TransitionModel::MleUpdate``).

    Args:
        transitions: the model to update; states of fewer frames than ``mincount`` stay as they are.
        counts: shape ``(num_transition_ids + 1,)``, frames of every transition-id.
        floor: the smallest probability.
        mincount: the smallest number of frames.
    """
    starts = transitions.state2id[1:-1].astype(np.int64) - 1
    sizes = transitions.state2id[2:].astype(np.int64) - 1 - starts
    totals = np.add.reduceat(counts[1:], starts)
    probs = counts[1:] / np.repeat(np.maximum(totals, 1.0e-30), sizes)
    for _ in range(3):  # Kaldi floors and scales in turn, three times, and ends with the floor
        sums = np.add.reduceat(probs, starts)
        probs = np.maximum(probs / np.repeat(np.where(sums > 0, sums, 1.0), sizes), floor)
    log_probs = transitions.log_probs.copy()
    updated = np.repeat((totals >= mincount) & (sizes > 1), sizes)
    log_probs[1:][updated] = np.log(probs[updated])
    model = copy.copy(transitions)
    model.log_probs = log_probs
    return model


@dataclass(order=True)
class _Split:
    priority: float
    pdf: int
    num_gauss: int = field(compare=False)


def split_targets(
    occupancies: np.ndarray, target: int, power: float = 0.25, min_count: float = 20.0
) -> np.ndarray:
    """How many Gaussians each pdf should have, shape ``(P,)`` (``GetSplitTargets``).

    The pdf of the largest ``occupancy ** power`` a Gaussian is next to get one more, unless each of its
    Gaussians would then be left with no more than ``min_count`` frames.

    Args:
        occupancies: shape ``(P,)``, frames of every pdf.
        target: the number of Gaussians of all pdfs.
        power: the exponent, in [0, 1].
        min_count: the smallest number of frames a Gaussian.
    """
    targets = np.ones(len(occupancies), dtype=np.int64)
    weights = np.asarray(occupancies, dtype=np.float64) ** power
    queue = [_Split(-weight, pdf, 1) for pdf, weight in enumerate(weights.tolist())]
    heapq.heapify(queue)
    spare = target - len(occupancies)
    while spare > 0 and queue:
        split = heapq.heappop(queue)
        if (split.num_gauss + 1) * min_count >= occupancies[split.pdf]:
            continue
        more = split.num_gauss + 1
        targets[split.pdf] = more
        heapq.heappush(queue, replace(split, priority=-weights[split.pdf] / more, num_gauss=more))
        spare -= 1
    return targets


def mix_up(
    gmm: AmDiagGmm, targets: np.ndarray, rng: np.random.Generator, perturb_factor: float = 0.01
) -> AmDiagGmm:
    """Split Gaussians until every pdf has at least its target (``DiagGmm::Split``).

    The heaviest Gaussian of the pdf is halved, and the means of the halves move apart in a random direction.

    Args:
        gmm: the model.
        targets: shape ``(P,)``; a pdf that has as many already is left alone.
        rng: the source of the directions; the same state gives the same model.
        perturb_factor: how far the means move, in standard deviations.
    """
    parts = []
    for pdf in range(gmm.num_pdfs):
        rows = gmm.gaussians(pdf)
        weights = gmm.weights[rows].astype(np.float64).tolist()
        means = list(gmm.means_invvars[rows].astype(np.float64))
        inv_vars = list(gmm.inv_vars[rows])
        while len(weights) < targets[pdf]:
            heaviest = int(np.argmax(weights))
            weights[heaviest] /= 2
            # The means are stored over the variance: their unit is that of an inverse standard deviation.
            step = perturb_factor * rng.standard_normal(gmm.dim) * np.sqrt(inv_vars[heaviest])
            weights.append(weights[heaviest])
            means.append(means[heaviest] + step)
            means[heaviest] = means[heaviest] - step
            inv_vars.append(inv_vars[heaviest])
        parts.append((weights, means, inv_vars))
    offsets = np.concatenate([[0], np.cumsum([len(weights) for weights, _, _ in parts])])
    weights_, means_, inv_vars_ = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return AmDiagGmm(offsets, weights_, means_, inv_vars_)
