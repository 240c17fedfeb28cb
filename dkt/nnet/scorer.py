"""Networks of any origin as what they are in a forward pass: features of an utterance in, outputs out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.base.sealed import is_torch_file
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.model_file import ModelInfo, load_model
from dkt.nnet.network import Network
from dkt.nnet.nnet1.network import Nnet1
from dkt.nnet.nnet3.directory import Nnet3Options, is_nnet3_file, network_file
from dkt.nnet.nnet3.scorer import Nnet3Scorer
from dkt.util.kaldi_io import is_input_pipe

logger = logging.getLogger(__name__)

_SOFTMAX = ("<Softmax>", "<BlockSoftmax>")
# nnet-forward adds this to posteriors before the logarithm.
_TINY = 1.0e-20


@dataclass
class OutputOptions:
    """What is written, in the terms of Kaldi's ``nnet-forward``.

    Attributes:
        no_softmax: logits rather than posteriors.
        apply_log: the logarithm of the posteriors.
        log_priors: float32 of shape ``(P,)``, subtracted from the output; None for none.
        prior_scale: what they are multiplied by first.
    """

    no_softmax: bool = False
    apply_log: bool = False
    log_priors: np.ndarray | None = None
    prior_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.no_softmax and self.apply_log:
            raise DktError("--apply-log and --no-softmax exclude each other: logits have no logarithm")

    def check(self, num_pdfs: int) -> None:
        """Raise DktError unless the priors are of ``num_pdfs`` pdfs."""
        if self.log_priors is not None and len(self.log_priors) != num_pdfs:
            raise DktError(
                f"{len(self.log_priors)} priors for a model of {num_pdfs} pdfs",
                hint="give the ali_train_pdf.counts of this model",
            )

    def warn_of_posteriors(self) -> None:
        """Warn that priors are subtracted from posteriors, which Kaldi does and nobody wants."""
        if self.log_priors is not None and not (self.no_softmax or self.apply_log):
            logger.warning(
                "log-priors are subtracted from posteriors, as in nnet-forward - for log-likelihoods add "
                "--no-softmax=true or --apply-log=true"
            )


class Forwarder(Protocol):
    """A network and the form of its output.

    Attributes:
        input_dim: F, of the features that it takes.
        output_dim: P.
        pipeline: what a data directory's features go through first; None if nobody knows.
    """

    input_dim: int
    output_dim: int
    pipeline: FeatureOptions | None

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """Outputs ``(T, P)``, priors not yet subtracted, of the features ``(T, F)`` of one utterance."""
        ...


class ModelScorer:
    """A network of dkt."""

    def __init__(
        self, info: ModelInfo, network: Network, options: OutputOptions, device: torch.device
    ) -> None:
        options.warn_of_posteriors()
        self.input_dim = info.feature_dim
        self.output_dim = info.num_pdfs
        self.pipeline: FeatureOptions | None = info.feature_options
        self._model = (network, info)
        self._options = options
        self._device = device

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """As ``Forwarder``."""
        logits = logits_of(*self._model, frames, self._device)
        if self._options.no_softmax:
            return logits
        return torch.log_softmax(logits, dim=1) if self._options.apply_log else torch.softmax(logits, dim=1)


class Nnet1Scorer:
    """A network of Kaldi's nnet1, with the options as ``nnet-forward`` takes them (``nnet-forward.cc``)."""

    pipeline: FeatureOptions | None = None

    def __init__(self, path: str, options: OutputOptions, device: torch.device) -> None:
        network = Nnet1.read(path, device)
        if not network.components:
            raise DktError("the network has no components", path=path)
        if network.components[-1].marker in _SOFTMAX:
            options.warn_of_posteriors()
        if options.no_softmax:
            network = _without_softmax(network, device)
        assert network.input_dim is not None and network.output_dim is not None
        self.input_dim = network.input_dim
        self.output_dim = network.output_dim
        self._network = network
        self._apply_log = options.apply_log
        self._warned = False

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """As ``Forwarder``."""
        outputs = self._network(frames)
        if not self._apply_log:
            return outputs
        if not self._warned and not (outputs.min() >= 0.0 and outputs.max() <= 1.0):
            self._warned = True
            logger.warning("%s: --apply-log of outputs that are no probabilities", self._network.path)
        return torch.log(outputs + _TINY)


def _without_softmax(network: Nnet1, device: torch.device) -> Nnet1:
    *others, last = network.components
    if last.marker not in _SOFTMAX:
        logger.warning("%s ends with %s: no softmax to leave out", network.path, last.marker)
        return network
    if not others:
        raise DktError("the network is nothing but a softmax: --no-softmax leaves none", path=network.path)
    logger.info("leaving out %s of %s", last.marker, network.path)
    return Nnet1(others, network.path, device)


def load_scorer(
    model: str, options: OutputOptions, device: torch.device, nnet3: Nnet3Options | None = None
) -> Forwarder:
    """Open a network.

    Args:
        model: a ``final.pt`` of dkt, under any name, or its directory; or a network of Kaldi's nnet1: a file,
            ``-`` or ``command |``; or one of nnet3, raw or in a ``final.mdl``: a file, or its directory.
        options: what it shall give.
        device: where it shall run.
        nnet3: of a network of nnet3 alone; None for the defaults.

    Raises:
        DktError: it is none of them, or is damaged; or ``nnet3`` asks for something of another network.
    """
    nnet3 = nnet3 or Nnet3Options()
    if model == "-" or is_input_pipe(model):
        nnet3.refuse(model)
        return Nnet1Scorer(model, options, device)
    path = network_file(model)
    if is_nnet3_file(path):
        factor = nnet3.factor_of(path)
        return Nnet3Scorer(path, options.no_softmax, options.apply_log, nnet3.output, factor, device)
    nnet3.refuse(path)
    if path.suffix == ".pt" or is_torch_file(path):
        return ModelScorer(*load_model(path, device), options, device)
    return Nnet1Scorer(str(path), options, device)


@torch.inference_mode()
def logits_of(network: Network, info: ModelInfo, features: np.ndarray, device: torch.device) -> torch.Tensor:
    """Logits of one utterance: features ``(T, F)`` to ``(T, P)``, one row a frame."""
    frames = torch.from_numpy(np.ascontiguousarray(features)).to(device)
    return network.of_utterance(frames, info.left_context, info.right_context, info.ivector_dim)
