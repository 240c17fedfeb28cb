"""The diagonal-covariance Gaussian mixture models of a system, one per pdf (Kaldi's ``am-diag-gmm``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.transition_model import TransitionModel, read_transition_model, write_transition_model
from dkt.util.object_io import ObjectReader, ObjectWriter

logger = logging.getLogger(__name__)

_LOG_2PI = float(np.log(2.0 * np.pi))
# The scores of one chunk of frames against all Gaussians should stay in the processor's cache.
_CHUNK_SCORES = 500_000


class AmDiagGmm:
    """The mixtures of all pdfs, their Gaussians one after another in flat arrays.

    Legend: P pdfs, G Gaussians in all, F feature dimension, T frames.

    Args:
        offsets: shape ``(P + 1,)``; the Gaussians of pdf p are ``offsets[p]`` to before ``offsets[p + 1]``.
        weights: shape ``(G,)``, within each pdf.
        means_invvars: shape ``(G, F)``, means over variances.
        inv_vars: shape ``(G, F)``, one over variances.
        gconsts: shape ``(G,)``, log-likelihood of a zero feature vector; computed if missing.
    """

    def __init__(
        self,
        offsets: np.ndarray,
        weights: np.ndarray,
        means_invvars: np.ndarray,
        inv_vars: np.ndarray,
        gconsts: np.ndarray | None = None,
    ) -> None:
        self.offsets = np.asarray(offsets, dtype=np.int64)
        self.weights = np.asarray(weights, dtype=np.float32)
        self.means_invvars = np.asarray(means_invvars, dtype=np.float32)
        self.inv_vars = np.asarray(inv_vars, dtype=np.float32)
        self.gconsts = self._compute_gconsts() if gconsts is None else np.asarray(gconsts, dtype=np.float32)

    @classmethod
    def flat(cls, mean: np.ndarray, variance: np.ndarray, num_pdfs: int) -> AmDiagGmm:
        """A model whose pdfs are all one Gaussian; ``mean`` and ``variance`` are of shape ``(F,)``."""
        rows = (num_pdfs, 1)
        with np.errstate(divide="ignore", invalid="ignore"):  # check() tells of a variance of zero
            means_invvars, inv_vars = np.tile(mean / variance, rows), np.tile(1.0 / variance, rows)
        return cls(np.arange(num_pdfs + 1), np.ones(num_pdfs), means_invvars, inv_vars)

    def check(self, path: str | Path | None = None) -> None:
        """Raise DktError if shapes do not fit, a pdf has no Gaussian, or a parameter is impossible."""
        shape = (int(self.offsets[-1]), self.means_invvars.shape[-1])
        if (
            self.weights.shape != shape[:1]
            or self.means_invvars.shape != shape
            or self.inv_vars.shape != shape
            or (np.diff(self.offsets) < 1).any()
        ):
            raise DktError(
                f"the parts of the mixtures do not fit: {self.weights.shape} weights, "
                f"{self.means_invvars.shape} means, {self.inv_vars.shape} variances",
                path=path,
            )
        finite = np.isfinite(self.weights).all() and np.isfinite(self.means_invvars).all()
        if not (finite and (self.weights >= 0).all()):
            raise DktError("a weight or mean of the mixtures is negative or not a number", path=path)
        if not ((self.inv_vars > 0).all() and np.isfinite(self.inv_vars).all()):
            raise DktError("a variance of the mixtures is not positive and finite", path=path)

    def _compute_gconsts(self) -> np.ndarray:
        # DiagGmm::ComputeGconsts: log w - (F log 2 pi + log of the variances + means^2 / variances) / 2.
        inv_vars = self.inv_vars.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # check() tells what is wrong
            log_weights = np.log(self.weights.astype(np.float64))
            terms = np.log(inv_vars) - self.means_invvars.astype(np.float64) ** 2 / inv_vars
            return (log_weights + 0.5 * (terms.sum(axis=1) - self.dim * _LOG_2PI)).astype(np.float32)

    @cached_property
    def natural(self) -> np.ndarray:
        """Means over variances and minus half of one over variances, shape ``(G, 2 F)``, float32.

        Times the features and their squares they give the log-likelihood, less ``gconsts``.
        """
        return np.hstack([self.means_invvars, np.float32(-0.5) * self.inv_vars])

    @property
    def num_pdfs(self) -> int:
        """The number of pdfs, P."""
        return len(self.offsets) - 1

    @property
    def num_gauss(self) -> int:
        """The number of Gaussians of all pdfs, G."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """The feature dimension, F."""
        return self.means_invvars.shape[1]

    def gaussians(self, pdf: int) -> slice:
        """Where the Gaussians of ``pdf`` stand."""
        return slice(int(self.offsets[pdf]), int(self.offsets[pdf + 1]))

    def boost(self, pdfs: Sequence[int] | np.ndarray, factor: float) -> AmDiagGmm:
        """A copy whose likelihoods of ``pdfs`` are ``factor`` times as high (``gmm-boost-silence``)."""
        weights = self.weights.copy()
        gconsts = self.gconsts.copy()
        for pdf in pdfs:
            weights[self.gaussians(int(pdf))] *= np.float32(factor)
            gconsts[self.gaussians(int(pdf))] += np.float32(np.log(factor))
        return AmDiagGmm(self.offsets, weights, self.means_invvars, self.inv_vars, gconsts)

    def check_dim(self, features: np.ndarray, path: str | Path | None = None, utt: str | None = None) -> None:
        """Raise DktError unless ``features`` have this model's dimension."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise DktError(
                f"features of shape {features.shape}, the model expects dimension {self.dim}",
                path=path,
                utt=utt,
                hint="give the features that the model was trained on: the same CMVN, deltas and transform",
            )

    def loglikes(self, features: np.ndarray, pdfs: np.ndarray | None = None) -> np.ndarray:
        """Log-likelihoods of frames (``DiagGmm::LogLikelihood``).

        Args:
            features: shape ``(T, F)``.
            pdfs: the pdfs wanted, ascending, shape ``(P',)``; all of them if missing.

        Returns:
            Natural-log likelihoods, shape ``(T, P')``, float32.

        Raises:
            DktError: the features have another dimension.
        """
        self.check_dim(features)
        if pdfs is None:
            pdfs = np.arange(self.num_pdfs)
        sizes = np.diff(self.offsets)
        wanted = np.zeros(self.num_pdfs, dtype=bool)
        wanted[pdfs] = True
        rows = np.repeat(wanted, sizes)
        natural, gconsts = self.natural[rows], self.gconsts[rows, None]
        ends = np.cumsum(sizes[pdfs]).tolist()
        loglikes = np.empty((len(pdfs), len(features)), dtype=np.float32)
        step = max(1, _CHUNK_SCORES // len(natural))
        # A value too large to square gives -inf or NaN, which the caller sees in the result.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(features), step):
                chunk = features[start : start + step].astype(np.float32, copy=False)
                # Gaussians by frames, so that the sum over the Gaussians of a pdf runs over whole rows.
                scores = natural @ np.hstack([chunk, chunk**2]).T
                scores += gconsts
                _log_sum_exp(scores, ends, loglikes[:, start : start + step])
        return loglikes.T


def _log_sum_exp(scores: np.ndarray, ends: list[int], out: np.ndarray) -> None:
    """Sum the Gaussians of each pdf, whose rows of ``scores`` end at ``ends``; ``scores`` is used up."""
    begin = 0
    for row, end in enumerate(ends):
        mixture = scores[begin:end]
        begin = end
        if len(mixture) == 1:
            out[row] = mixture[0]
            continue
        highest = mixture.max(axis=0)
        mixture -= highest
        np.exp(mixture, out=mixture)
        np.log(mixture.sum(axis=0), out=out[row])
        out[row] += highest


def read_gmm(reader: ObjectReader) -> AmDiagGmm:
    """Read the mixtures from an open object, as they follow the transition model in ``final.mdl``.

    Raises:
        DktError: the object is cut short or malformed.
    """
    reader.expect("<DIMENSION>")
    dim = reader.int32()
    reader.expect("<NUMPDFS>")
    num_pdfs = reader.int32()
    if num_pdfs < 1:
        raise reader.fail(f"{num_pdfs} pdfs, expected at least one")
    parts = [_read_mixture(reader, dim) for _ in range(num_pdfs)]
    weights, means_invvars, inv_vars = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
    offsets = np.concatenate([[0], np.cumsum([len(part[1]) for part in parts])])
    gmm = AmDiagGmm(offsets, weights, means_invvars, inv_vars)
    gmm.check(reader.path)
    stored = np.concatenate(
        [gmm.gconsts[gmm.gaussians(p)] if x[0] is None else x[0] for p, x in enumerate(parts)]
    )
    # Kaldi computes these constants anew and so do we; the stored ones are kept where they differ by no more
    # than single precision does, so that a model written back is the same to the byte.
    if np.allclose(stored, gmm.gconsts, rtol=1e-5, atol=1e-3):
        gmm.gconsts = stored.astype(np.float32)
    else:
        logger.warning(
            "%s: the stored <GCONSTS> do not fit the parameters: they were computed anew", reader.path
        )
    return gmm


def _read_mixture(
    reader: ObjectReader, dim: int
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray]:
    # The tokens <DiagGMMBegin> and <DiagGMMEnd> are those of early Kaldi; the constants are optional.
    reader.expect("<DiagGMM>", "<DiagGMMBegin>")
    gconsts = None
    if reader.expect("<GCONSTS>", "<WEIGHTS>") == "<GCONSTS>":
        gconsts = reader.vector()
        reader.expect("<WEIGHTS>")
    weights = reader.vector()
    reader.expect("<MEANS_INVVARS>")
    means_invvars = reader.matrix()
    reader.expect("<INV_VARS>")
    inv_vars = reader.matrix()
    reader.expect("</DiagGMM>", "<DiagGMMEnd>")
    shape = (len(weights), dim)
    if not len(weights) or means_invvars.shape != shape or inv_vars.shape != shape:
        raise reader.fail(
            f"a mixture of {len(weights)} weights has means of shape {means_invvars.shape} and variances of "
            f"shape {inv_vars.shape}, expected {shape}"
        )
    if gconsts is not None and len(gconsts) != len(weights):
        raise reader.fail(f"{len(gconsts)} constants for {len(weights)} Gaussians")
    return gconsts, weights, means_invvars, inv_vars


def write_gmm(writer: ObjectWriter, gmm: AmDiagGmm) -> None:
    """Write the mixtures, byte for byte as Kaldi does in binary form."""
    writer.token("<DIMENSION>")
    writer.int32(gmm.dim)
    writer.token("<NUMPDFS>")
    writer.int32(gmm.num_pdfs)
    for pdf in range(gmm.num_pdfs):
        rows = gmm.gaussians(pdf)
        writer.token("<DiagGMM>")
        writer.newline()
        writer.token("<GCONSTS>")
        writer.vector(gmm.gconsts[rows])
        writer.token("<WEIGHTS>")
        writer.vector(gmm.weights[rows])
        writer.token("<MEANS_INVVARS>")
        writer.matrix(gmm.means_invvars[rows])
        writer.token("<INV_VARS>")
        writer.matrix(gmm.inv_vars[rows])
        writer.token("</DiagGMM>")
        writer.newline()


def load_gmm(path: str | Path) -> tuple[TransitionModel, AmDiagGmm]:
    """Read ``final.mdl`` of a GMM system.

    Raises:
        DktError: the file is missing, cut short, of another kind of model, or its parts disagree.
    """
    reader = ObjectReader.open(path)
    transitions = read_transition_model(reader)
    if reader.peek_token() != "<DIMENSION>":
        raise DktError(
            f"no GMM follows the transition model but '{reader.peek_token()[:40]}'",
            path=path,
            hint="give the final.mdl of a GMM system",
        )
    gmm = read_gmm(reader)
    if not reader.at_end():
        raise reader.fail("more follows the mixtures")
    if gmm.num_pdfs != transitions.num_pdfs:
        raise DktError(
            f"{gmm.num_pdfs} mixtures for the {transitions.num_pdfs} pdfs of the transition model", path=path
        )
    return transitions, gmm


def save_gmm(path: str | Path, transitions: TransitionModel, gmm: AmDiagGmm, binary: bool = True) -> None:
    """Write ``final.mdl`` of a GMM system, whole or not at all."""
    writer = ObjectWriter(binary)
    write_transition_model(writer, transitions)
    write_gmm(writer, gmm)
    writer.save_recorded(path)
