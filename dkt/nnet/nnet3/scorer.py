"""Networks of nnet3 as what scores utterances: teachers, and anything else that is forwarded.

The features have the i-vectors at the end of each frame, as those of dkt's networks. Where they are the same
in the whole utterance, it is computed at once; else they are taken as ``nnet3-compute`` takes online
i-vectors, one for every chunk. The output may come at every n-th frame only, as that of chain models: it is
repeated n times, so that a student that scores every frame has targets, and labels, for all of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.nnet3.decodable import ComputeOptions, Nnet3Computer
from dkt.nnet.nnet3.directory import nnet3_features
from dkt.nnet.nnet3.model import read_nnet3_model

# Kaldi's --frames-per-chunk.
_CHUNK = 50


class Nnet3Scorer:
    """A network of nnet3 (``dkt.nnet.scorer.Forwarder``).

    Its outputs are logits to dkt, whether they are log-posteriors or, of a chain model, unnormalised.

    Args:
        path: a raw network or a ``final.mdl``.
        no_softmax: give the outputs as they are.
        apply_log: give log-posteriors; without both, posteriors.
        output: the name of the output-node, for example ``output-xent``.
        frame_subsampling_factor: every how many frames it is computed; what is between is repeated.
        device: where the outputs shall be; the network itself runs in NumPy.

    Raises:
        DktError: it is no network of nnet3, is damaged, or has no such output.
    """

    def __init__(
        self,
        path: str | Path,
        no_softmax: bool = False,
        apply_log: bool = False,
        output: str = "output",
        frame_subsampling_factor: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        try:
            self._computer = Nnet3Computer(read_nnet3_model(path).network, output)
        except DktError as error:
            raise error if error.path else DktError(str(error), path=path) from None
        #: What a data directory's features go through first, as the directory of the network says.
        self.pipeline: FeatureOptions | None = nnet3_features(path, self._computer.ivector_dim)
        self.input_dim = self._computer.input_dim + self._computer.ivector_dim
        self.output_dim = self._computer.output_dim
        self._device = device
        self._no_softmax = no_softmax
        self._apply_log = apply_log
        self._options = ComputeOptions(
            frame_subsampling_factor=frame_subsampling_factor, online_ivector_period=1
        )

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """Outputs ``(T, P)`` of the features ``(T, F)`` of one utterance."""
        options, ivectors = self._options, None
        features = frames[:, : self._computer.input_dim]
        if self._computer.ivector_dim:
            ivectors = frames[:, self._computer.input_dim :]
            if (ivectors == ivectors[0]).all():
                ivectors = ivectors[0]
            else:
                options = replace(options, frames_per_chunk=_CHUNK)
        outputs = self._computer(features, options, ivectors)
        if options.frame_subsampling_factor > 1:
            outputs = np.repeat(outputs, options.frame_subsampling_factor, axis=0)[: len(frames)]
        logits = torch.from_numpy(outputs).to(self._device)
        if self._no_softmax:
            return logits
        return torch.log_softmax(logits, dim=1) if self._apply_log else torch.softmax(logits, dim=1)
