"""Where a student's soft targets come from: from disk, from Kaldi's archives, or from the teacher itself."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.base.progress import Progress
from dkt.base.tally import Tally
from dkt.feat.reader import FeatureReader
from dkt.hmm.transition_model import TransitionModel
from dkt.nnet import threads
from dkt.nnet.hidden_layer import HiddenLayer
from dkt.nnet.model_file import ModelInfo, fingerprint, load_model, model_file
from dkt.nnet.network import Network
from dkt.nnet.scorer import logits_of
from dkt.targets.header import FRAMES_PER_HOUR, TargetHeader
from dkt.targets.kaldi_posteriors import Form, check_form, open_targets
from dkt.targets.scratch import TargetScratch
from dkt.targets.soft_targets import SoftTargets, top_k_targets
from dkt.targets.target_source import TargetSource
from dkt.targets.top_k import ALL, TopK
from dkt.util.data_dir import DataDir

logger = logging.getLogger(__name__)


@dataclass
class TeachingOptions:
    """Where soft targets come from.

    Attributes:
        soft_targets: a directory of soft targets, or an rspecifier of posteriors; None if the teacher is run.
        soft_targets_dev: those of the dev data; None if ``soft_targets`` has them too.
        teacher: a model file or its directory. Beside ``soft_targets`` they must be its.
        teacher_data_train, teacher_data_dev: data directories with the features of a teacher that is run;
            None for those of the student.
        top_k: posteriors kept of each frame, of archives and of a teacher that is run.
        form: what matrices of an archive hold; None for posteriors.
        transition_ids: whether Kaldi's Posteriors are of transition-ids rather than pdf-ids.
    """

    soft_targets: str | None = None
    soft_targets_dev: str | None = None
    teacher: str | None = None
    teacher_data_train: str | None = None
    teacher_data_dev: str | None = None
    top_k: TopK = ALL
    form: Form | None = None
    transition_ids: bool = False

    def __post_init__(self) -> None:
        if self.form is not None:
            check_form(self.form)
        if self.soft_targets is None and self.soft_targets_dev is not None:
            raise DktError("--soft-targets-dev without --soft-targets: give both")
        archive = self.soft_targets is not None and not Path(self.soft_targets).is_dir()
        if not archive and (self.form is not None or self.transition_ids):
            raise DktError(
                "--targets-form and --transition-ids are of archives of posteriors: --soft-targets"
            )
        if archive and self.teacher is not None:
            raise DktError("whose posteriors an archive holds is not known: give it without --teacher")
        runs = self.teacher is not None and self.soft_targets is None
        if not runs and (self.teacher_data_train or self.teacher_data_dev):
            raise DktError(
                "--teacher-data-train and --teacher-data-dev are of a teacher that is run: --teacher"
            )

    @property
    def given(self) -> bool:
        """Whether there is a teacher at all."""
        return self.soft_targets is not None or self.teacher is not None

    @property
    def directory(self) -> Path | None:
        """The teacher's directory, or that of its soft targets; None for an archive of Kaldi's.

        Raises:
            DktError: the teacher does not exist.
        """
        if self.teacher is not None:
            path = Path(self.teacher)
            if not path.exists():
                raise DktError("there is no such teacher", path=path, hint="give its directory or final.pt")
            return model_file(path).parent
        path = Path(self.soft_targets or "")
        return path if path.is_dir() else None


@dataclass(frozen=True)
class Hint:
    """The hidden layer of a teacher that a student is to match.

    Attributes:
        layer: its number, from 1 on; None for the middle one.
    """

    layer: int | None = None


class RunningTeacher:
    """A teacher that is run over a data directory, its soft targets kept in a scratch file.

    Args:
        info, network: the teacher.
        data: with the features that the teacher was trained on.
        top_k: posteriors kept of each frame.
        temperatures: where the tail is computed.
        device: where the teacher runs.
        hint: the hidden layer whose output is kept, too; None for none.

    Raises:
        DktError: the features are not the teacher's.
    """

    half = False

    def __init__(
        self,
        info: ModelInfo,
        network: Network,
        data: DataDir,
        top_k: TopK,
        temperatures: tuple[float, ...],
        device: torch.device,
        hint: Hint | None = None,
    ) -> None:
        _refuse_speaker_inputs(info, data)
        self.header = TargetHeader(
            fingerprint(network), info.num_pdfs, _kept(top_k, info.num_pdfs), temperatures, {}
        )
        self.where = f"what the teacher made of {data.path}"
        self._places: dict[str, slice] = {}
        seen = hashlib.sha256(str((self.header.top_k, temperatures)).encode())
        layer = None if hint is None else HiddenLayer(network, hint.layer, "the teacher")
        if layer is not None:
            seen.update(f"hidden layer {layer.number}".encode())
        reader = FeatureReader(data, info.feature_options)
        reader.drop_missing(Tally(f"teacher on {data.path}", 1.0))
        logger.info("teacher on %s: %s", data.path, self.header.describe())
        scratch, place = TargetScratch(info.num_pdfs, self.half), 0
        with Progress("teacher", len(data.utt2spk), "utterances") as progress:
            teach = partial(_teach, info, network, device, self.header, str(data.path), layer)
            for utt, targets in threads.map_in_order(teach, _checked(reader, info, seen)):
                scratch.append(targets)
                self._places[utt] = slice(place, place + len(targets))
                place += len(targets)
                progress.advance(1)
        self._targets = scratch.finish() if self._places else None
        if self._targets is not None and self._targets.hint is not None:
            units = self._targets.hint.shape[1]
            size = 4 * units * FRAMES_PER_HOUR / 1e6
            logger.info("its hidden layer: %d units, %.1f MB per hour of speech while this runs", units, size)
        #: Of the features it was run on: its outputs differ in their last bits from processor to processor.
        self.fingerprint = seen.hexdigest()[:16]

    def __contains__(self, utt: str) -> bool:
        return utt in self._places

    def read(self, utt: str, num_frames: int) -> SoftTargets:
        """The soft targets of one utterance of ``num_frames`` frames."""
        assert self._targets is not None
        targets = self._targets.select(self._places[utt])
        targets.check_length(num_frames, self.where, utt)
        return targets

    def check_teacher(self, fingerprint: str | None, num_pdfs: int) -> None:
        """Raise DktError unless the teacher is this one (None: any) and has this number of pdfs."""
        self.header.check_teacher(fingerprint, num_pdfs, self.where)


def _checked(reader: FeatureReader, info: ModelInfo, seen: hashlib._Hash) -> Iterator[tuple[str, np.ndarray]]:
    """The utterances of the reader, all of which are of the teacher's dimension; ``seen`` takes them in."""
    for utt, frames in reader:
        if frames.shape[1] != info.feature_dim:
            raise DktError(
                f"features of dimension {frames.shape[1]}, the teacher was trained on {info.feature_dim}",
                path=reader.data.path,
                utt=utt,
                hint="give the teacher's features by --teacher-data-train and --teacher-data-dev",
            )
        seen.update(utt.encode() + np.ascontiguousarray(frames).tobytes())
        yield utt, frames


def _teach(
    info: ModelInfo,
    network: Network,
    device: torch.device,
    header: TargetHeader,
    source: str,
    layer: HiddenLayer | None,
    utterance: tuple[str, np.ndarray],
) -> tuple[str, SoftTargets]:
    utt, frames = utterance
    log_post = torch.log_softmax(logits_of(network, info, frames, device), dim=1).cpu()
    if not log_post.isfinite().all():
        raise DktError("the output of the teacher is not a number", path=source, utt=utt)
    targets = top_k_targets(log_post, header.top_k, header.temperatures)
    # Of a sequence network each frame stands among one sequence.
    return utt, targets if layer is None else replace(targets, hint=layer.take().flatten(0, -2).cpu())


def _refuse_speaker_inputs(info: ModelInfo, data: DataDir) -> None:
    """The transforms and i-vectors that a training is given are the student's, which may differ."""
    if info.speaker_transforms or info.ivector_dim:
        raise DktError(
            "a teacher that takes fMLLR transforms or i-vectors cannot be run at once",
            path=data.path,
            hint="make its soft targets with steps/make_soft_targets.sh and give them by --soft-targets",
        )


def _kept(top_k: TopK, num_pdfs: int) -> int | None:
    """How many posteriors are kept; None for all, whatever number they are called by."""
    number = top_k.of(num_pdfs)
    return None if number == num_pdfs else number


def open_teaching(
    options: TeachingOptions,
    data: dict[str, DataDir],
    temperatures: tuple[float, ...],
    hmm_dir: Path,
    transitions: TransitionModel,
    device: torch.device,
    hint: Hint | None = None,
) -> dict[str, TargetSource]:
    """The soft targets of training and dev data.

    Args:
        options: where they come from.
        data: the student's data directories.
        temperatures: all T that are wanted.
        hmm_dir: with the student's ``final.mdl`` and, where there are, tree and phones.
        transitions: what that ``final.mdl`` holds.
        device: where a teacher runs.
        hint: the hidden layer of the teacher that is wanted, too; None for none.

    Raises:
        DktError: they are not there, are another teacher's, or are of other pdfs.
    """
    if options.directory is not None:
        _check_same(hmm_dir, options.directory)
    name = None
    if options.soft_targets is None:
        sources = _run_teacher(options, data, temperatures, device, hint)
    else:
        sources = _read_targets(options, temperatures, transitions)
        if options.teacher is not None:
            name = fingerprint(load_model(model_file(options.teacher))[1])
    for source in sources.values():
        source.check_teacher(name, transitions.num_pdfs)
    # Those of dev must be the same teacher's as those of training.
    train = sources["train"].header
    sources["dev"].check_teacher(train.fingerprint or None, train.num_pdfs)
    return sources


def _check_same(hmm_dir: Path, teacher_dir: Path) -> None:
    """Refuse a teacher of another tree or of other phones: its pdfs are others even if they are as many."""
    for name in ("tree", "phones.txt"):
        ours, theirs = hmm_dir / name, teacher_dir / name
        if ours.is_file() and theirs.is_file() and _content(ours) != _content(theirs):
            raise DktError(
                f"differs from {theirs}: the teacher has other pdfs",
                path=ours,
                hint="teacher and student must be trained on alignments of the same tree",
            )


def _content(path: Path) -> list[bytes]:
    # Disambiguation symbols depend on the lexicon, not on the pdfs.
    return [line for line in path.read_bytes().split(b"\n") if not line.startswith(b"#")]


def _run_teacher(
    options: TeachingOptions,
    data: dict[str, DataDir],
    temperatures: tuple[float, ...],
    device: torch.device,
    hint: Hint | None,
) -> dict[str, TargetSource]:
    info, network = load_model(model_file(options.teacher or ""), device)
    given = {"train": options.teacher_data_train, "dev": options.teacher_data_dev}
    sources: dict[str, TargetSource] = {}
    for part, own in data.items():
        place = given[part]
        teacher_data = own if place is None else DataDir(place)
        sources[part] = RunningTeacher(info, network, teacher_data, options.top_k, temperatures, device, hint)
    return sources


def _read_targets(
    options: TeachingOptions, temperatures: tuple[float, ...], transitions: TransitionModel
) -> dict[str, TargetSource]:
    form = options.form or "posteriors"
    mapped = transitions if options.transition_ids else None

    def read(source: str) -> TargetSource:
        num_pdfs = transitions.num_pdfs
        return open_targets(source, num_pdfs, _kept(options.top_k, num_pdfs), temperatures, form, mapped)

    train = read(options.soft_targets or "")
    return {"train": train, "dev": read(options.soft_targets_dev) if options.soft_targets_dev else train}
