"""Kaldi's posterior archives as soft targets: matrices of ``nnet-forward``, Posteriors of ``ali-to-post``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.hmm.posterior import Posterior, posterior_to_pdfs, read_posterior_or_matrix
from dkt.hmm.transition_model import TransitionModel
from dkt.targets.header import TargetHeader, check_choice
from dkt.targets.soft_targets import SoftTargets, top_k_targets
from dkt.targets.store import TargetDir
from dkt.targets.target_source import TargetSource
from dkt.util.table import RandomAccessTable

#: What a matrix of ``nnet-forward`` holds: without options, with --apply-log=true, with --no-softmax=true.
Form = Literal["posteriors", "log-posteriors", "logits"]

#: What a float32 softmax gives as zero is at most this: the log of the smallest float32 above zero.
LOG_FLOOR = math.log(np.finfo(np.float32).smallest_subnormal)
#: How far posteriors may be from a sum of one: Kaldi's compressed matrices are that coarse.
_SUM_TOLERANCE = 0.01
#: What a sum lacks of one below this is rounding (Kaldi prints 7 digits), above it a tail.
_WHOLE_TOLERANCE = 1e-4


def check_form(form: str) -> None:
    """Raise DktError unless ``form`` is a ``Form``."""
    if form not in get_args(Form):
        raise DktError(f"the form of posteriors is '{form}', known are {', '.join(get_args(Form))}")


def targets_from_posteriors(
    value: np.ndarray | Posterior,
    num_pdfs: int,
    top_k: int | None = None,
    temperatures: Sequence[float] = (1.0,),
    form: Form = "posteriors",
) -> SoftTargets:
    """Turn what Kaldi wrote of one utterance into soft targets.

    Args:
        value: a matrix of shape ``(T, P)``, or a Posterior of pdf-ids. What is missing from a frame's sum of
            one in a Posterior is the tail's; of a matrix all is known.
        num_pdfs: P.
        top_k: how many pdfs to keep; None for all that are given. A Posterior keeps P - 1 at most: the last
            one is the tail.
        temperatures: where the tail is computed.
        form: what a matrix holds.

    Raises:
        DktError: no such form; another number of pdfs; not posteriors; or a tail of several pdfs at a
            temperature other than 1, where its mass depends on how it is shared among them.
    """
    check_form(form)
    if isinstance(value, Posterior):
        return _from_posterior(value, num_pdfs, top_k, temperatures)
    if value.ndim != 2 or value.shape[1] != num_pdfs:
        raise DktError(f"posteriors of shape {value.shape}, expected {num_pdfs} pdfs")
    matrix = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
    return top_k_targets(_log_posteriors(matrix, form), top_k, temperatures)


def _log_posteriors(matrix: torch.Tensor, form: Form) -> torch.Tensor:
    if matrix.isnan().any() or matrix.isposinf().any() or (form == "logits" and matrix.isneginf().any()):
        raise DktError(f"the {form} hold a value that is not a number")
    if form == "posteriors":
        if (matrix < -_SUM_TOLERANCE).any():
            raise DktError("a posterior is negative", hint="are they log-posteriors or logits? Then say so")
        matrix = matrix.clamp_min(0.0).log()
    matrix = matrix.masked_fill(matrix.isneginf(), LOG_FLOOR)
    log_sums = matrix.logsumexp(dim=1, keepdim=True)
    # A bound, so that logits taken for log-posteriors do not overflow.
    sums = log_sums[:, 0].clamp_max(50.0).exp()
    wrong = ((sums - 1.0).abs() > _SUM_TOLERANCE).nonzero()
    if form != "logits" and len(wrong):
        frame = int(wrong[0])
        raise DktError(
            f"the {form} of frame {frame} sum to {float(sums[frame]):.4g}, expected 1",
            hint="are they posteriors, log-posteriors or logits? No priors may be subtracted",
        )
    return matrix - log_sums


def _check_posterior(posterior: Posterior, num_pdfs: int) -> np.ndarray:
    """The sum of every frame, float64 of shape ``(T,)``; DktError unless each is a distribution."""
    ids, weights = posterior.ids, posterior.weights
    if len(ids) and not (ids.min() >= 0 and ids.max() < num_pdfs):
        raise DktError(
            f"posteriors of pdfs from {ids.min()} to {ids.max()}, expected 0 to {num_pdfs - 1}",
            hint="posteriors of transition-ids need the final.mdl that they were made with",
        )
    if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise DktError("a posterior is negative or not a number")
    sums = np.bincount(posterior.frame_of_entry, weights, minlength=len(posterior))
    wrong = np.flatnonzero(~((sums > 0.0) & (sums <= 1.0 + _SUM_TOLERANCE)))
    if len(wrong):
        raise DktError(
            f"the posteriors of frame {wrong[0]} sum to {sums[wrong[0]]:.4g}, expected above 0 and up to 1",
            hint="posteriors that were weighted or scaled are no targets",
        )
    return sums


def _by_frame(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Ids and log weights, largest first, each ``(T, longest)``; where none is, the best id and -inf."""
    shape = (len(posterior), int(posterior.lengths.max(initial=1)))
    ids = np.zeros(shape, dtype=np.int64)
    logs = np.full(shape, -np.inf)
    frames = posterior.frame_of_entry
    first = np.cumsum(posterior.lengths) - posterior.lengths
    columns = np.arange(len(frames)) - first[frames]
    ids[frames, columns] = posterior.ids
    logs[frames, columns] = np.log(posterior.weights.astype(np.float64))
    order = np.argsort(-logs, axis=1, kind="stable")
    ids, logs = np.take_along_axis(ids, order, 1), np.take_along_axis(logs, order, 1)
    return np.where(np.isneginf(logs), ids[:, :1], ids), logs


def _from_posterior(
    posterior: Posterior, num_pdfs: int, top_k: int | None, temperatures: Sequence[float]
) -> SoftTargets:
    check_choice(num_pdfs, top_k, temperatures)
    sums = _check_posterior(posterior, num_pdfs)
    posterior = posterior.merged()
    ids, logs = _by_frame(posterior)
    missing = 1.0 - sums
    short = np.flatnonzero((missing > _SUM_TOLERANCE) & (posterior.lengths == num_pdfs))
    if len(short):
        raise DktError(
            f"the posteriors of all pdfs of frame {short[0]} sum to {sums[short[0]]:.4g}, expected 1"
        )
    whole = (missing < _WHOLE_TOLERANCE) | (posterior.lengths == num_pdfs)
    logs = logs - np.where(whole, np.log(sums), 0.0)[:, None]
    kept = min(logs.shape[1], top_k or num_pdfs, max(num_pdfs - 1, 1))
    with np.errstate(divide="ignore"):
        log_missing = np.log(np.where(whole, 0.0, missing))
    num_missing = np.where(whole, 0, num_pdfs - posterior.lengths)
    tails = [_tail(logs[:, kept:], log_missing, num_missing, temperature) for temperature in temperatures]
    return SoftTargets(
        torch.from_numpy(ids[:, :kept].copy()),
        torch.from_numpy(logs[:, :kept].astype(np.float32)),
        torch.from_numpy(np.stack(tails, axis=1).astype(np.float32)),
        tuple(float(temperature) for temperature in temperatures),
    )


def _tail(
    dropped: np.ndarray, log_missing: np.ndarray, num_missing: np.ndarray, temperature: float
) -> np.ndarray:
    unknown = np.flatnonzero(num_missing > 1)
    if temperature != 1.0 and len(unknown):
        raise DktError(
            f"the posteriors of frame {unknown[0]} leave {math.exp(log_missing[unknown[0]]):.3g} to pdfs "
            f"that are not listed: how much that is at temperature {temperature:g} is not known",
            hint="use temperature 1, or posteriors that are not pruned",
        )
    columns = np.concatenate([dropped / temperature, (log_missing / temperature)[:, None]], axis=1)
    return np.logaddexp.reduce(columns, axis=1)


class PosteriorTargets(RandomAccessTable[SoftTargets]):
    """An archive of Kaldi's as soft targets, with the interface of ``TargetDir``.

    Args:
        rspecifier: of matrices or of Posteriors; ``scp:`` is read on demand, ``ark:`` whole.
        num_pdfs: P.
        top_k: how many pdfs to keep; None for all.
        temperatures: where the tail is computed.
        form: what matrices hold.
        transitions: of the model that made the Posteriors, where they are of transition-ids.

    Attributes:
        header: what is known of the targets; the teacher is not.
    """

    half = False

    def __init__(
        self,
        rspecifier: str,
        num_pdfs: int,
        top_k: int | None = None,
        temperatures: Sequence[float] = (1.0,),
        form: Form = "posteriors",
        transitions: TransitionModel | None = None,
    ) -> None:
        # The table reads an archive at once, and converts what it reads.
        self.header = TargetHeader("", num_pdfs, top_k, tuple(map(float, temperatures)), {})
        self.rspecifier = rspecifier
        self.form = form
        self.transitions = transitions
        super().__init__(read_posterior_or_matrix, rspecifier)

    @property
    def where(self) -> str:
        """The place of the targets, for messages."""
        return self.rspecifier

    def convert(self, key: str, value: np.ndarray | Posterior) -> SoftTargets:
        """The soft targets of one utterance."""
        if isinstance(value, Posterior) and self.transitions is not None:
            value = posterior_to_pdfs(value, self.transitions, self.rspecifier, key)
        header = self.header
        try:
            return targets_from_posteriors(
                value, header.num_pdfs, header.top_k, header.temperatures, self.form
            )
        except DktError as error:
            raise DktError(str(error), path=self.rspecifier, utt=key) from None

    def read(self, utt: str, num_frames: int) -> SoftTargets:
        """The soft targets of one utterance.

        Raises:
            DktError: there are none, they are no posteriors, or they are not of ``num_frames`` frames.
        """
        if utt not in self:
            raise DktError("has no posteriors", path=self.rspecifier, utt=utt)
        targets = self[utt]
        targets.check_length(num_frames, self.rspecifier, utt)
        return targets

    def check_teacher(self, fingerprint: str | None, num_pdfs: int) -> None:
        """Raise DktError for another number of pdfs; who wrote an archive of Kaldi's is not known."""
        self.header.check_teacher(fingerprint, num_pdfs, self.rspecifier)


def open_targets(
    source: str,
    num_pdfs: int,
    top_k: int | None = None,
    temperatures: Sequence[float] = (1.0,),
    form: Form = "posteriors",
    transitions: TransitionModel | None = None,
) -> TargetSource:
    """Open soft targets of either kind.

    Args:
        source: a directory of soft targets, or an rspecifier of an archive of Kaldi's.
        num_pdfs: P of the student.
        top_k, temperatures, form, transitions: of an archive of Kaldi's, as of ``PosteriorTargets``.

    Raises:
        DktError: it is neither, is half-written or is of another number of pdfs.
    """
    if Path(source).is_dir():
        store = TargetDir(source)
        store.check_teacher(None, num_pdfs)
        return store
    if ":" not in source:
        raise DktError("is neither a directory of soft targets nor an rspecifier", path=source)
    return PosteriorTargets(source, num_pdfs, top_k, temperatures, form, transitions)
