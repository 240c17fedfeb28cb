"""Several networks as one, whose posteriors are the mean of theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.nnet.scorer import Forwarder


class Ensemble:
    """The mean of the posteriors of some networks, as a logarithm.

    Source: Hinton, Vinyals and Dean, arXiv 1503.02531, section 2: the arithmetic mean of an ensemble's
    predictions as the soft targets of one student.

    Args:
        members: networks that give log-posteriors, at least one.
        names: where each comes from, for errors.

    Raises:
        DktError: they are of other features, or of other pdfs.
    """

    def __init__(self, members: Sequence[Forwarder], names: Sequence[str]) -> None:
        first = members[0]
        self.input_dim = first.input_dim
        self.output_dim = first.output_dim
        self.pipeline = first.pipeline
        self._members = members
        for member, name in zip(members[1:], names[1:], strict=True):
            if member.output_dim != first.output_dim:
                raise DktError(
                    f"has {member.output_dim} pdfs, {names[0]} has {first.output_dim}",
                    path=name,
                    hint="networks of an ensemble are trained on alignments of the same tree",
                )
            if (member.input_dim, member.pipeline) != (first.input_dim, first.pipeline):
                raise DktError(
                    f"takes other features than {names[0]}",
                    path=name,
                    hint="networks of an ensemble share the section 'features', but for the splicing",
                )

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """As ``Forwarder``: log-posteriors."""
        outputs = torch.stack([member(frames) for member in self._members])
        return outputs.logsumexp(dim=0) - math.log(len(self._members))
