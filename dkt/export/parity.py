"""Whether a written file computes what the network computes, on real features.

T frames, F features, P pdfs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import read_features
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.nnet.model_file import ModelInfo
from dkt.nnet.pipeline_window import pipeline_window

#: The largest difference between two log-posteriors that are the same but for rounding.
PARITY_TOLERANCE = 1.0e-4
# A log-posterior this far below zero is a probability of nothing: single precision keeps four digits of it.
_LEAST = -40.0
# Frames of the utterances that are drawn.
_DRAWN = (1, 40, 100)


@dataclass(frozen=True)
class ParityData:
    """Utterances that a written file is judged by.

    Attributes:
        data: a data directory.
        inputs: transforms and i-vectors of it.
        utterances: how many of it, the first ones.
    """

    data: Path
    inputs: SpeakerInputs
    utterances: int

    def features(self, options: FeatureOptions) -> Iterator[tuple[str, np.ndarray]]:
        """Utterances and features ``(T, F)`` of them after a feature pipeline.

        Raises:
            DktError: there are none.
        """
        tally = Tally("export")
        inputs = self.inputs if options.ivector_dim or options.speaker_transforms else SpeakerInputs()
        source = read_features(str(self.data), options, tally, inputs)
        number = 0
        for number, item in enumerate(source, 1):
            yield item
            if number == self.utterances:
                break
        if not number:
            raise DktError("holds no utterance to compare the outputs on", path=self.data)

    def raw_dim(self, info: ModelInfo) -> int:
        """The dimension of the features on disk that the pipeline of a model begins with.

        Raises:
            DktError: the pipeline does not make what the model takes of them.
        """
        options = info.feature_options
        _, frames = next(self.features(FeatureOptions(paste=options.paste)))
        dim = frames.shape[1]
        # Transforms of speakers change it by themselves.
        if not options.speaker_transforms:
            try:
                pipeline_window(info, dim)
            except DktError as error:
                hint = "give --data with features as those of the training"
                raise DktError(str(error), path=self.data, hint=hint) from None
        return dim

    def pairs(self, options: FeatureOptions, part: FeatureOptions) -> Iterator[Pair]:
        """Utterances after a part of a feature pipeline and after all of it."""
        for (utt, some), (_, whole) in zip(self.features(part), self.features(options), strict=True):
            yield Pair(utt, some, whole)


class Pair(NamedTuple):
    """An utterance: its features ``(T, F)`` after a part of a feature pipeline, and after all of it."""

    utt: str
    part: np.ndarray
    whole: np.ndarray


@dataclass
class Parity:
    """How far a written file is from the network.

    Attributes:
        file: what is judged, for errors.
        utterances, frames: that were compared.
        difference: the largest of any two log-posteriors.
    """

    file: str
    utterances: int = 0
    frames: int = 0
    difference: float = 0.0

    def compare(self, utt: str, expected: np.ndarray, found: np.ndarray) -> None:
        """Compare the log-posteriors ``(T, P)`` of an utterance.

        Raises:
            DktError: they differ by more than ``PARITY_TOLERANCE`` somewhere.
        """
        if expected.shape != found.shape:
            raise DktError(
                f"{self.file} gives outputs {found.shape}, the network gives {expected.shape}", utt=utt
            )
        expected, found = np.maximum(expected, _LEAST), np.maximum(found, _LEAST)
        distance = np.abs(expected.astype(np.float64) - found)
        # Not a number is no difference that could be below another.
        if not (distance <= PARITY_TOLERANCE).all():
            frame = int(np.argmax(np.nan_to_num(distance, nan=np.inf).max(axis=1)))
            raise DktError(
                f"{self.file} differs from the network by {np.nanmax(distance[frame]):.2g} in a "
                f"log-posterior of frame {frame}, expected {PARITY_TOLERANCE:g} at most: it was not written",
                utt=utt,
                hint="this is a fault of dkt or a network at the end of its numeric range: please report it",
            )
        self.utterances += 1
        self.frames += len(expected)
        self.difference = max(self.difference, float(distance.max()))

    def describe(self) -> str:
        """One line for the log."""
        return (
            f"{self.file}: the same log-posteriors as the network in {self.frames} frames of "
            f"{self.utterances} utterances, but for {self.difference:.1e} at most"
        )


def drawn_frames(dim: int) -> Iterator[tuple[str, np.ndarray]]:
    """Frames of a normal distribution where there are no data: names and features ``(T, dim)``."""
    chance = np.random.default_rng(0)
    for number in _DRAWN:
        yield f"random-{number}", chance.normal(size=(number, dim)).astype(np.float32)
