"""A trained model: its features, its outputs, what a student learns of it.

T frames, F features, P pdfs, K kept pdfs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch

from dkt.api.arguments import (
    PathName,
    data_dir_of,
    device_of,
    number_of,
    path_of,
    share_of,
    speaker_inputs_of,
    temperatures_of,
    top_k_of,
)
from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.counts import load_counts
from dkt.nnet.forward import network_output
from dkt.nnet.model_file import ModelInfo, load_model, model_file
from dkt.nnet.network import Network
from dkt.nnet.networks import layers_text
from dkt.nnet.pdf_prior import DEFAULT_PRIOR_FLOOR, log_priors
from dkt.nnet.scorer import ModelScorer, OutputOptions
from dkt.targets.soft_targets import SoftTargets, top_k_targets
from dkt.targets.top_k import DEFAULT, TopK
from dkt.train.experiment import COUNTS
from dkt.util.data_dir import DataDir

#: Where the tail of soft targets is computed unless told otherwise, as of ``dkt make-soft-targets``.
TEMPERATURES = (1.0, 2.0, 5.0)
# Mean posteriors of the training data, of steps/make_priors.sh, come before counts of labels, as in Kaldi.
_COUNTS = ("prior_counts", COUNTS)


class Model:
    """A trained network of dkt and the feature pipeline that it was trained with.

    Everything takes one whole utterance at a time and computes on the device of the network, in as many CPU
    threads as PyTorch is set to.

    Args:
        info: what the network expects and gives.
        network: the network, a ``torch.nn.Module`` in evaluation mode.
        path: its file.
    """

    def __init__(self, info: ModelInfo, network: Network, path: Path) -> None:
        self.info = info
        self.network = network
        self.path = path
        self._priors: dict[tuple[str, float], np.ndarray] = {}

    @classmethod
    def load(cls, path: PathName, device: str | torch.device = "cpu") -> Self:
        """Read a model; nothing in its file is executed.

        Args:
            path: a ``final.pt``, or the directory that it is in.
            device: where it shall compute: cpu, cuda or cuda:N.

        Raises:
            DktError: there is none, it is damaged or not dkt's, or there is no such device.
        """
        file = model_file(path_of(path, "path"))
        return cls(*load_model(file, device_of(device)), file)

    def __repr__(self) -> str:
        info = self.info
        kind = f"{info.kind} {layers_text(info.network)}".strip()
        return f"<dkt.Model {self.path}: {kind}, {info.feature_dim} features, {info.num_pdfs} pdfs>"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def feature_dim(self) -> int:
        """F, the dimension of the features after the pipeline, before the network splices them."""
        return self.info.feature_dim

    @property
    def num_pdfs(self) -> int:
        """P."""
        return self.info.num_pdfs

    def features(
        self,
        data: PathName | DataDir,
        *,
        transform_dir: PathName | None = None,
        ivectors: PathName | None = None,
        max_dropped: float = DEFAULT_MAX_DROPPED,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """The features of a data directory as this model takes them, in the order of ``feats.scp``.

        Args:
            data: the data directory; CMVN, deltas and so on are done as in the training of the model.
            transform_dir: fMLLR transforms (``trans.1`` and so on), for a model that was trained with them.
            ivectors: i-vectors, for a model that was trained with them: a directory or an rspecifier.
            max_dropped: the share of the utterances that may lack features, transforms or i-vectors. Each of
                those is left out with a warning; more of them are an error, after the last utterance.

        Returns:
            Utterances and their features, float32 of shape ``(T, F)``.

        Raises:
            DktError: no data directory, or features that cannot be made.
        """
        tally = Tally("features", share_of(max_dropped, "max_dropped"))
        return _counted(features_for(self, data, speaker_inputs_of(transform_dir, ivectors), tally), tally)

    def posteriors(self, features: np.ndarray) -> np.ndarray:
        """Posteriors p(pdf | x) of one utterance.

        Args:
            features: as ``Model.features`` gives them, shape ``(T, F)``.

        Returns:
            float32 of shape ``(T, P)``; each row sums to one.

        Raises:
            DktError: features of another dimension, without frames, or with a value that is not a number.
        """
        return self._output(features, OutputOptions())

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """The natural logarithm of the posteriors; arguments and errors as of ``posteriors``."""
        return self._output(features, OutputOptions(apply_log=True))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """The output before the softmax; arguments and errors as of ``posteriors``."""
        return self._output(features, OutputOptions(no_softmax=True))

    def log_likelihoods(
        self,
        features: np.ndarray,
        counts: PathName | np.ndarray | None = None,
        *,
        prior_scale: float = 1.0,
        prior_floor: float = DEFAULT_PRIOR_FLOOR,
    ) -> np.ndarray:
        """What a decoder takes: log p(x | pdf) but for a constant of the frame, log-posterior less log-prior.

        Args:
            features: as of ``posteriors``.
            counts: how often each pdf was in the training data: a file, or values of shape ``(P,)``; None for
                ``prior_counts`` or else ``ali_train_pdf.counts`` beside the model.
            prior_scale: multiplies the log-priors.
            prior_floor: a pdf of a smaller relative frequency is disabled, see ``dkt.nnet.pdf_prior``.

        Returns:
            float32 of shape ``(T, P)``, in natural-log units.

        Raises:
            DktError: as ``posteriors``; or there are no counts, or of another number of pdfs.
        """
        number_of(prior_scale, ranges.PRIOR_SCALE, "prior_scale")
        priors = self._log_priors(counts, share_of(prior_floor, "prior_floor"))
        options = OutputOptions(apply_log=True, log_priors=priors, prior_scale=prior_scale)
        options.check(self.num_pdfs)
        return self._output(features, options)

    def soft_targets(
        self,
        features: np.ndarray,
        top_k: int | str | TopK = DEFAULT,
        temperatures: float | Sequence[float] = TEMPERATURES,
    ) -> SoftTargets:
        """The posteriors of one utterance as a student learns them.

        Args:
            features: as of ``posteriors``.
            top_k: K, how many posteriors of each frame are kept; or ``all``.
            temperatures: T at which the mass of the others is known.

        Returns:
            Tensors on the CPU, see ``dkt.targets.soft_targets.SoftTargets``.

        Raises:
            DktError: as ``posteriors``; K above P, or a temperature that is not above 0.
        """
        log_post = torch.from_numpy(self.log_posteriors(features))
        return top_k_targets(log_post, top_k_of(top_k).of(self.num_pdfs), temperatures_of(temperatures))

    def _output(self, features: np.ndarray, options: OutputOptions) -> np.ndarray:
        try:
            frames = np.asarray(features, dtype=np.float32)
        except (TypeError, ValueError):
            what = type(features).__name__
            raise DktError(
                f"the features are a {what}, expected a matrix of {self.feature_dim} columns"
            ) from None
        scorer = ModelScorer(self.info, self.network, options, self.device)
        try:
            return network_output(scorer, frames, options)
        except DktError as error:
            raise DktError(str(error), path=self.path) from None

    def _log_priors(self, counts: PathName | np.ndarray | None, floor: float) -> np.ndarray:
        if isinstance(counts, (np.ndarray, torch.Tensor, list, tuple)):
            try:
                counts = np.asarray(counts, dtype=np.float64)
            except (TypeError, ValueError):
                raise DktError("the counts are not numbers") from None
            if counts.ndim != 1 or not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
                raise DktError("the counts are not frames of each pdf: numbers from 0 on, in one vector")
            return log_priors(counts, floor)
        if counts is None:
            places = [self.path.parent / name for name in _COUNTS]
            counts = next((place for place in places if place.is_file()), places[-1])
        key = (str(counts), floor)
        if key not in self._priors:
            self._priors[key] = log_priors(load_counts(key[0]), floor)
        return self._priors[key]


def features_for(model: Model, data: PathName | DataDir, side: SpeakerInputs, tally: Tally) -> FeatureReader:
    """The features that a model takes.

    Args:
        model: the model.
        data: the data directory.
        side: transforms and i-vectors.
        tally: where utterances that lack features, or one of these, are counted as dropped.

    Raises:
        DktError: there is no data directory, or a file of it is missing.
    """
    reader = FeatureReader(data_dir_of(data, "data"), model.info.feature_options, side)
    reader.drop_missing(tally)
    return reader


def _counted(reader: FeatureReader, tally: Tally) -> Iterator[tuple[str, np.ndarray]]:
    for utterance in reader:
        yield utterance
        tally.done()
    tally.finish(str(reader.data.path))
