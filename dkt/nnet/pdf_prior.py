"""What posteriors are divided by in decoding: the log-priors of pdfs (Kaldi's ``nnet-pdf-prior.h``)."""

from __future__ import annotations

import logging

import numpy as np

logger = logging.getLogger(__name__)

DEFAULT_PRIOR_FLOOR = 1.0e-10
# Kaldi disables a pdf by a huge log-prior rather than infinity, which would make NaN of differences.
DISABLED_LOG_PRIOR = float(np.sqrt(np.finfo(np.float32).max))


def log_priors(counts: np.ndarray, floor: float = DEFAULT_PRIOR_FLOOR) -> np.ndarray:
    """Log-priors of the pdfs (``PdfPrior`` in Kaldi's ``nnet/nnet-pdf-prior.cc``).

    Args:
        counts: frames of each pdf, shape ``(P,)``.
        floor: a pdf of a smaller relative frequency is disabled, by a log-prior of sqrt(FLT_MAX).

    Returns:
        float32 of shape ``(P,)``.
    """
    frequency = counts / counts.sum()
    priors = np.log(frequency + 1.0e-20)
    disabled = frequency < floor
    if disabled.any():
        logger.info("%d pdfs are rarer than %g and disabled in decoding", int(disabled.sum()), floor)
    return np.where(disabled, DISABLED_LOG_PRIOR, priors).astype(np.float32)
