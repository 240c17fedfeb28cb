"""Training objectives as pure functions of tensors: B frames, P pdfs, K kept classes of the teacher.

Each returns the sum over frames, in natural-log units; divide by the number of frames for Kaldi's AvgLoss.
With z the student's logits, v the teacher's and T the temperature, ``p_T = softmax(z/T)`` and
``q_T = softmax(v/T)`` (Tang, Wang and Zhang, arXiv 1505.04630; Hinton, Vinyals and Dean, arXiv 1503.02531).

A teacher is given by its K largest log-posteriors at T=1 with their pdfs, and by its tail: the log of the sum
of ``exp(log_post/T)`` over the classes that are not kept, -inf where there are none. The tail is one lumped
class, on the student's side too, so nothing of shape ``(B, P)`` is made of the teacher.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from dkt.targets.soft_targets import best_class


def hard(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with one label a frame: the sum of -log p[y] (the "raw" objective).

    Args:
        logits: shape ``(B, P)``.
        labels: int64 pdf-ids, shape ``(B,)``.

    Returns:
        A scalar.
    """
    return functional.cross_entropy(logits, labels, reduction="sum")


def teacher_log_probs(log_post: torch.Tensor, tail: torch.Tensor, temperature: float) -> torch.Tensor:
    """log q_T of the kept classes and, last, of the lumped tail.

    Args:
        log_post: the teacher's log-posteriors at T=1, shape ``(B, K)``.
        tail: its tail at ``temperature``, shape ``(B,)``.
        temperature: T.

    Returns:
        Shape ``(B, K + 1)``; exponentials sum to one.
    """
    return torch.log_softmax(torch.cat([log_post / temperature, tail[:, None]], dim=1), dim=1)


def student_log_probs(logits: torch.Tensor, pdfs: torch.Tensor, temperature: float) -> torch.Tensor:
    """log p_T of the classes ``pdfs`` and, last, of all others lumped together.

    Args:
        logits: shape ``(B, P)``.
        pdfs: the classes that the teacher kept, int64 of shape ``(B, K)``.
        temperature: T.

    Returns:
        Shape ``(B, K + 1)``; the last column is -inf when K = P.
    """
    scaled = logits / temperature
    kept = scaled.gather(1, pdfs)
    if pdfs.shape[1] == logits.shape[1]:
        others = torch.full_like(kept[:, :1], -torch.inf)
    else:
        # The others are summed by themselves: one minus the kept share would lose a small tail to rounding.
        others = scaled.scatter(1, pdfs, -torch.inf).logsumexp(dim=1, keepdim=True)
    joined = torch.cat([kept, others], dim=1)
    return joined - scaled.logsumexp(dim=1, keepdim=True)


def _cross_entropy(log_q: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
    # A class of probability zero counts nothing, whatever the other side says: 0 times -inf is not a number.
    empty = torch.isneginf(log_q)
    return -(log_q.exp().masked_fill(empty, 0.0) * log_p.masked_fill(empty, 0.0)).sum()


def soft(
    logits: torch.Tensor, pdfs: torch.Tensor, log_post: torch.Tensor, tail: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Cross-entropy H(q_T, p_T) with the teacher, both sides at temperature T (the "regularisation view").

    Its gradient in z is (p_T - q_T) / T.

    Args:
        logits: shape ``(B, P)``.
        pdfs: kept classes, int64 of shape ``(B, K)``.
        log_post: the teacher's log-posteriors of them at T=1, shape ``(B, K)``.
        tail: the teacher's tail at T, shape ``(B,)``.
        temperature: T.

    Returns:
        A scalar.
    """
    log_q = teacher_log_probs(log_post, tail, temperature)
    return _cross_entropy(log_q, student_log_probs(logits, pdfs, temperature))


def soft_entropy(log_post: torch.Tensor, tail: torch.Tensor, temperature: float) -> torch.Tensor:
    """Entropy H(q_T) of the teacher: what ``soft`` cannot fall below. Kaldi reports loss minus entropy.

    Args:
        log_post: shape ``(B, K)``.
        tail: at T, shape ``(B,)``.
        temperature: T.

    Returns:
        A scalar.
    """
    log_q = teacher_log_probs(log_post, tail, temperature)
    return _cross_entropy(log_q, log_q)


def interpolated(
    hard_loss: torch.Tensor, soft_loss: torch.Tensor, soft_weight: float, temperature: float
) -> torch.Tensor:
    """Hinton's mixture: lambda T^2 H(q_T, p_T) + (1 - lambda) (-log p_1[y]).

    Args:
        hard_loss: of ``hard``.
        soft_loss: of ``soft`` at ``temperature``, whose gradients shrink as 1/T^2.
        soft_weight: lambda, from 0 to 1.
        temperature: T.

    Returns:
        A scalar.
    """
    return soft_weight * temperature**2 * soft_loss + (1.0 - soft_weight) * hard_loss


def logit_matching(logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of centred logits (Ba and Caruana, arXiv 1312.6184).

    A softmax does not see a constant added to a frame's logits, so each frame's mean is removed first; the
    teacher's log-posteriors therefore serve as its logits.

    Args:
        logits: shape ``(B, P)``.
        teacher_logits: shape ``(B, P)``.

    Returns:
        A scalar.
    """
    difference = logits - teacher_logits
    return 0.5 * (difference - difference.mean(dim=1, keepdim=True)).square().sum()


def conditional(
    logits: torch.Tensor,
    labels: torch.Tensor,
    pdfs: torch.Tensor,
    log_post: torch.Tensor,
    tail: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The teacher where its best class is the label, else the label (Meng et al., arXiv 1904.12399).

    Soft frames are scaled by T^2, so that both kinds weigh alike.

    Args:
        logits: shape ``(B, P)``.
        labels: int64, shape ``(B,)``.
        pdfs, log_post, tail, temperature: as of ``soft``.

    Returns:
        A scalar.
    """
    right = best_class(pdfs, log_post) == labels
    taught = soft(logits[right], pdfs[right], log_post[right], tail[right], temperature)
    return temperature**2 * taught + hard(logits[~right], labels[~right])


def smooth(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Label smoothing: cross-entropy with (1 - s) one-hot + s / P (Szegedy et al., arXiv 1512.00567).

    Args:
        logits: shape ``(B, P)``.
        labels: int64, shape ``(B,)``.
        smoothing: s, from 0 to below 1.

    Returns:
        A scalar.
    """
    return functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)


def hint(guided: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of hidden layers, a mean over their units (Romero et al., arXiv 1412.6550).

    Args:
        guided: the student's, through a linear map, shape ``(B, H)``.
        teacher: the teacher's, shape ``(B, H)``.

    Returns:
        A scalar.
    """
    return 0.5 * (guided - teacher).square().mean(dim=1).sum()
