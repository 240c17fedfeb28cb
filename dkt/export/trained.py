"""What an export begins from: the directory of a network that was trained by dkt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.hmm.counts import load_counts
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.nnet.model_file import ModelInfo, load_model
from dkt.nnet.network import Network
from dkt.nnet.scorer import logits_of
from dkt.train.experiment import COUNTS, MODEL
from dkt.util.text import read_lines

# The features among the inputs that the mark of a training lists: name, size and time, relative to the mark.
_FEATURES = re.compile(r"(.+)/feats\.scp \d+ \d+(\.\d+)?")


@dataclass(frozen=True)
class TrainedModel:
    """A directory of a training that has ended.

    Attributes:
        directory: where it is.
        info: what the model takes and gives.
        network: its weights, in evaluation mode, on the CPU.
    """

    directory: Path
    info: ModelInfo
    network: Network

    @cached_property
    def transition_model(self) -> TransitionModel:
        """That of ``final.mdl``."""
        model = load_transition_model(self.file("final.mdl"))
        if model.num_pdfs != self.info.num_pdfs:
            raise DktError(
                f"has {model.num_pdfs} pdfs, the network {self.info.num_pdfs}",
                path=self.directory / "final.mdl",
                hint="give the directory as its training left it",
            )
        return model

    @cached_property
    def counts(self) -> np.ndarray:
        """Frames of each pdf in the training, shape ``(P,)``."""
        path = self.file(COUNTS)
        counts = load_counts(path)
        if len(counts) != self.info.num_pdfs:
            raise DktError(f"holds {len(counts)} counts for {self.info.num_pdfs} pdfs", path=path)
        return counts

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """Those of an utterance, shape ``(T, P)``, of features ``(T, F)`` after the whole pipeline."""
        logits = logits_of(self.network, self.info, features, torch.device("cpu"))
        return torch.log_softmax(logits, dim=1).numpy()

    def file(self, name: str) -> Path:
        """A file of the directory.

        Raises:
            DktError: it is not there.
        """
        path = self.directory / name
        if not path.is_file():
            raise DktError("does not exist", path=path, hint="give the directory as its training left it")
        return path

    def data_of_training(self) -> Path | None:
        """The data directory that the training was judged by, as its step noted it; None if there is none."""
        for mark in sorted(self.directory.glob(".train_*.done")):
            found = [match[1] for line in read_lines(mark) if (match := _FEATURES.fullmatch(line))]
            # Training data come first.
            for name in reversed(found):
                data = (mark.parent / name).resolve()
                if (data / "feats.scp").is_file():
                    return data
        return None


def open_trained(directory: str | Path) -> TrainedModel:
    """Read a model and its network.

    Raises:
        DktError: there is none, or it is damaged.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DktError("is not a directory, expected that of a trained network", path=directory)
    if not (directory / MODEL).is_file():
        raise DktError(
            f"holds no {MODEL}", path=directory, hint="give the directory of a training that has ended"
        )
    return TrainedModel(directory, *load_model(directory / MODEL))
