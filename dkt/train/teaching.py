"""Where a student's soft targets come from: from disk, from Kaldi's archives, or from the teacher itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from dkt.datadir import DataDir
from dkt.errors import DktError
from dkt.feature_reader import FeatureOptions, FeatureReader
from dkt.forward import logits_of
from dkt.nnet.modelfile import ModelInfo, Network, fingerprint, load_model
from dkt.posterior_targets import Form, open_targets
from dkt.target_store import TargetSource
from dkt.targets import SoftTargets, TargetHeader, top_k_targets
from dkt.train.progress import Progress
from dkt.transitions import TransitionModel

logger = logging.getLogger(__name__)


@dataclass
class TeachingOptions:
    """Where soft targets come from.

    Attributes:
        soft_targets: a directory of soft targets, or an rspecifier of posteriors; None if the teacher is run.
        soft_targets_dev: those of the cross-validation data; None if ``soft_targets`` has them too.
        teacher: a model file or its directory. Beside ``soft_targets`` they must be its.
        teacher_data_train, teacher_data_dev: data directories with the features of a teacher that is run;
            None for those of the student.
        top_k: posteriors kept of each frame, of archives and of a teacher that is run; None for all.
        form: what matrices of posteriors hold.
        transition_ids: whether Kaldi's Posteriors are of transition-ids rather than pdf-ids.
    """

    soft_targets: str | None = None
    soft_targets_dev: str | None = None
    teacher: str | None = None
    teacher_data_train: str | None = None
    teacher_data_dev: str | None = None
    top_k: int | None = None
    form: Form = "posteriors"
    transition_ids: bool = False

    @property
    def given(self) -> bool:
        """Whether there is a teacher at all."""
        return self.soft_targets is not None or self.teacher is not None

    @property
    def hmm_dir(self) -> Path:
        """Where the teacher's transition model lies, for students without alignments."""
        return Path(self.soft_targets or "") if self.teacher is None else self.model_file.parent

    @property
    def model_file(self) -> Path:
        """The teacher's model file."""
        path = Path(self.teacher or "")
        return path / "final.pt" if path.is_dir() else path


class RunningTeacher:
    """A teacher that is run over a data directory, its soft targets kept in memory.

    Args:
        info, network: the teacher.
        data: with the features that the teacher was trained on.
        top_k: posteriors kept of each frame; None for all.
        temperatures: where the tail is computed.
        device: where the teacher runs.

    Raises:
        DktError: the features are not the teacher's.
    """

    def __init__(
        self,
        info: ModelInfo,
        network: Network,
        data: DataDir,
        top_k: int | None,
        temperatures: tuple[float, ...],
        device: torch.device,
    ) -> None:
        self.header = TargetHeader(
            fingerprint(network), info.num_pdfs, _at_most(top_k, info.num_pdfs), temperatures, {}
        )
        self.path = data.path
        self._targets: dict[str, SoftTargets] = {}
        reader = FeatureReader(data, FeatureOptions(info.cmvn_opts, info.delta_opts))
        logger.info("teacher on %s: %s in memory", data.path, self.header.describe())
        with Progress("teacher", len(data.utt2spk), "utterances") as progress:
            for utt, frames in reader:
                if frames.shape[1] != info.feature_dim:
                    raise DktError(
                        f"features of dimension {frames.shape[1]}, the teacher was trained on "
                        f"{info.feature_dim}",
                        path=data.path,
                        utt=utt,
                        hint="give the teacher's features by --teacher-data-train and --teacher-data-dev",
                    )
                log_post = torch.log_softmax(logits_of(network, info, frames, device), dim=1).cpu()
                self._targets[utt] = top_k_targets(log_post, self.header.top_k, temperatures)
                progress.advance(1)

    def __contains__(self, utt: str) -> bool:
        return utt in self._targets

    def read(self, utt: str, num_frames: int) -> SoftTargets:
        """The soft targets of one utterance of ``num_frames`` frames."""
        targets = self._targets[utt]
        targets.check_length(num_frames, self.path, utt)
        return targets

    def check_teacher(self, fingerprint: str | None, num_pdfs: int) -> None:
        """Raise DktError unless the teacher is this one (None: any) and has this number of pdfs."""
        self.header.check_teacher(fingerprint, num_pdfs, self.path)


def _at_most(top_k: int | None, num_pdfs: int) -> int | None:
    return None if top_k is None or top_k >= num_pdfs else top_k


def open_teaching(
    options: TeachingOptions,
    data: dict[str, DataDir],
    temperature: float,
    transitions: TransitionModel,
    device: torch.device,
) -> dict[str, TargetSource]:
    """The soft targets of training and cross-validation data.

    Args:
        options: where they come from.
        data: the student's data directories.
        temperature: T.
        transitions: the student's transition model.
        device: where a teacher runs.

    Raises:
        DktError: they are not there, are another teacher's, or are of other pdfs.
    """
    if options.soft_targets is None:
        sources = _run_teacher(options, data, temperature, device)
    else:
        sources = _read_targets(options, temperature, transitions)
    name = None
    if options.teacher is not None:
        name = fingerprint(load_model(options.model_file, device)[1])
    for source in sources.values():
        source.check_teacher(name, transitions.num_pdfs)
    return sources


def _run_teacher(
    options: TeachingOptions, data: dict[str, DataDir], temperature: float, device: torch.device
) -> dict[str, TargetSource]:
    info, network = load_model(options.model_file, device)
    given = {"train": options.teacher_data_train, "dev": options.teacher_data_dev}
    sources: dict[str, TargetSource] = {}
    for part, own in data.items():
        place = given[part]
        teacher_data = own if place is None else DataDir(place)
        sources[part] = RunningTeacher(info, network, teacher_data, options.top_k, (temperature,), device)
    return sources


def _read_targets(
    options: TeachingOptions, temperature: float, transitions: TransitionModel
) -> dict[str, TargetSource]:
    mapped = transitions if options.transition_ids else None

    def read(source: str) -> TargetSource:
        top_k, num_pdfs = options.top_k, transitions.num_pdfs
        return open_targets(source, num_pdfs, _at_most(top_k, num_pdfs), (temperature,), options.form, mapped)

    train = read(options.soft_targets or "")
    return {"train": train, "dev": read(options.soft_targets_dev) if options.soft_targets_dev else train}
