"""What a training reads: opened once, checked against each other, and from then on no path is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dkt.base.errors import DktError
from dkt.base.memory import memory_for
from dkt.base.tally import DEFAULT_MAX_DROPPED
from dkt.dataset.shuffled import shuffle_targets
from dkt.dataset.utterances import Utterances, check_cv_disjoint, load_utterances
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.counts import load_counts
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.nnet.model_file import ModelInfo, fingerprint, load_model, model_file
from dkt.nnet.network import Network
from dkt.targets.target_source import TargetSource
from dkt.targets.teacher import Hint, RunningTeacher, TeachingOptions, open_teaching
from dkt.train import experiment
from dkt.train.modes import ObjectiveConfig
from dkt.train.recipes import Recipe
from dkt.util.data_dir import DataDir
from dkt.util.table import MatrixTable
from dkt.validate.data_facts import DataFacts


@dataclass(frozen=True)
class Sources:
    """Where a training finds what it reads, and what it may lose of it.

    Attributes:
        data_train, data_dev: data directories, for training and for cross-validation.
        ali_train, ali_dev: their alignments; None where only a teacher labels the data.
        teaching: where soft targets come from.
        hmm_dir: of data without alignments: the directory with ``final.mdl`` and ``ali_train_pdf.counts``;
            None for the teacher's.
        init_model: a model file, or its directory, whose weights the training begins from; None for fresh
            ones.
        max_dropped: the share of utterances that may be dropped.
        side_train, side_dev: fMLLR transforms and i-vectors.
        cache_dir: where packed features are kept: a directory, ``none``, or None for the data directories.
        cache_otherwise: where they are kept if the data directories cannot be written in.
    """

    data_train: DataDir
    data_dev: DataDir
    ali_train: AlignmentDir | None
    ali_dev: AlignmentDir | None
    teaching: TeachingOptions = field(default_factory=TeachingOptions)
    hmm_dir: Path | None = None
    init_model: Path | None = None
    max_dropped: float = DEFAULT_MAX_DROPPED
    side_train: SpeakerInputs = field(default_factory=SpeakerInputs)
    side_dev: SpeakerInputs = field(default_factory=SpeakerInputs)
    cache_dir: str | None = None
    cache_otherwise: Path | None = None

    @property
    def model_dir(self) -> Path:
        """The directory with ``final.mdl``: of the alignments, or of the teacher.

        Raises:
            DktError: there is none.
        """
        if self.ali_train is not None:
            return self.ali_train.path
        found = self.hmm_dir or self.teaching.directory
        if found is None:
            raise DktError(
                "without alignments a directory with final.mdl and ali_train_pdf.counts is needed",
                hint="give the teacher's by --hmm-dir",
            )
        return found

    def check(self, objective: ObjectiveConfig) -> None:
        """Raise DktError for what can be wrong before anything large is read."""
        _check_teacher(objective, self.teaching)
        ali, ali_dev = self.ali_train, self.ali_dev
        if (ali is None) != (ali_dev is None):
            given, lacking = ("training", "dev") if ali_dev is None else ("dev", "training")
            raise DktError(
                f"alignments of the {given} data and none of the {lacking} data: give both or none"
            )
        if ali is None and objective.needs_labels:
            asked = "--shuffle-targets" if objective.shuffle_targets else f"--mode {objective.mode}"
            raise DktError(
                f"{asked} needs alignments",
                hint="without them choose --mode soft or logits",
            )
        if ali is None:
            path = self.model_dir / experiment.COUNTS
            if not path.is_file():
                raise DktError("does not exist", path=path, hint="give the teacher's directory by --hmm-dir")
        elif self.hmm_dir is not None:
            raise DktError("--hmm-dir is of --no-ali: here it is the alignment directory")
        if ali is not None and ali_dev is not None and ali.num_pdfs != ali_dev.num_pdfs:
            raise DktError(
                f"{ali_dev.num_pdfs} pdfs, {ali.path} has {ali.num_pdfs}",
                path=ali_dev.path,
                hint="align both with one model",
            )
        check_cv_disjoint(self.data_train, self.data_dev)


def _check_teacher(objective: ObjectiveConfig, teaching: TeachingOptions) -> None:
    if objective.needs_hint and (teaching.teacher is None or teaching.soft_targets is not None):
        raise DktError(
            "a hint needs the teacher itself, soft targets hold none of its hidden layers",
            hint="give --teacher, without --soft-targets",
        )
    if objective.needs_teacher and not teaching.given:
        raise DktError(
            f"--mode {objective.mode} needs a teacher",
            hint="give --soft-targets (steps/make_soft_targets.sh makes them), or --teacher",
        )
    if teaching.given and not objective.needs_teacher:
        raise DktError(
            f"--mode {objective.mode} makes no use of a teacher",
            hint="leave out --soft-targets and --teacher, or choose another mode",
        )


class InitialModel(NamedTuple):
    """A model that a training begins from."""

    info: ModelInfo
    network: Network
    path: Path


@dataclass(frozen=True)
class Inputs:
    """What a training reads, opened.

    Attributes:
        options: the feature pipeline.
        raw_dim: the dimension of the features on disk, of the first of several that are pasted.
        model_dir: what is copied for decoding: ``final.mdl``, ``tree``, ``phones.txt``.
        num_pdfs: P.
        counts: the file with the counts of data without alignments; None where labels are counted.
        init: the model that the training begins from; None for fresh weights.
        train, dev: the utterances, with labels and soft targets.
        facts: what decides the result beside the configuration, as plain values.
    """

    options: FeatureOptions
    raw_dim: int
    model_dir: Path
    num_pdfs: int
    counts: Path | None
    init: InitialModel | None
    train: Utterances
    dev: Utterances
    facts: dict[str, Any]


def open_inputs(recipe: Recipe, sources: Sources, device: torch.device) -> Inputs:
    """Open all that a training reads.

    Args:
        recipe: the configuration.
        sources: where it is.
        device: where a teacher runs.

    Raises:
        DktError: bad data, or parts that do not belong together.
    """
    sources.check(recipe.objective)
    init = None if sources.init_model is None else _load_initial(model_file(sources.init_model), recipe)
    model_dir = sources.model_dir
    ali = sources.ali_train
    transitions = ali.transitions if ali is not None else load_transition_model(model_dir / "final.mdl")
    counts = None if ali is not None else _check_counts(model_dir / experiment.COUNTS, transitions)
    targets = _open_targets(recipe.objective, sources, transitions, device)
    options = recipe.features.options(sources.data_train, sources.side_train)
    train, dev = _load(sources, options, targets)
    if recipe.objective.shuffle_targets:
        train, dev = (shuffle_targets(part, recipe.training.seed) for part in (train, dev))
    recipe.check_data(DataFacts.of(train, options.ivector_dim, transitions.num_pdfs))
    for utterances in (train, dev) if targets else ():
        _check_dense(recipe.objective, utterances, sources.teaching.soft_targets or "")
    return Inputs(
        options=options,
        raw_dim=_raw_dim(sources.data_train, options),
        model_dir=model_dir,
        num_pdfs=transitions.num_pdfs,
        counts=counts,
        init=init,
        train=train,
        dev=dev,
        facts={
            "feature_dim": train.dim,
            "num_pdfs": transitions.num_pdfs,
            "train_data": experiment.data_fingerprint(train),
            "dev_data": experiment.data_fingerprint(dev),
            "teacher": targets["train"].header.fingerprint if targets else None,
            "train_targets": _targets_fingerprint(targets.get("train"), train, recipe.objective),
            "dev_targets": _targets_fingerprint(targets.get("dev"), dev, recipe.objective),
            "counts": experiment.file_fingerprint(None if counts is None else str(counts)),
            "init_model": None if init is None else fingerprint(init.network),
            "lda": experiment.file_fingerprint(getattr(recipe.features, "lda", None)),
            **experiment.pipeline_facts(options),
        },
    )


def _load_initial(path: Path, recipe: Recipe) -> InitialModel:
    """The model that a training begins from, which may bring the transform of a DNN's features.

    Raises:
        DktError: it is not a model, or not of the transform that the configuration names.
    """
    model = InitialModel(*load_model(path), path)
    if model.info.kind == recipe.kind:
        recipe.check_transform(model.network.transform, model.info.ivector_dim, path)
    return model


def _check_counts(path: Path, transitions: TransitionModel) -> Path:
    """The file of the teacher's priors: nobody has counted labels of data without alignments."""
    counts = load_counts(path)
    if len(counts) != transitions.num_pdfs:
        raise DktError(
            f"counts of {len(counts)} pdfs, final.mdl beside it has {transitions.num_pdfs}", path=path
        )
    return path


def _open_targets(
    objective: ObjectiveConfig, sources: Sources, transitions: TransitionModel, device: torch.device
) -> dict[str, TargetSource]:
    if not sources.teaching.given:
        return {}
    opened = open_teaching(
        sources.teaching,
        {"train": sources.data_train, "dev": sources.data_dev},
        objective.temperatures,
        sources.model_dir,
        transitions,
        device,
        Hint(objective.hint_layer) if objective.needs_hint else None,
    )
    for source in opened.values():
        objective.check_targets(source.header.dense, source.header.temperatures, source.where)
    return opened


@memory_for("the features", "train on fewer utterances, or give a --cache-dir that can be written to")
def _load(
    sources: Sources, options: FeatureOptions, targets: dict[str, TargetSource]
) -> tuple[Utterances, Utterances]:
    """The utterances for training and for cross-validation."""
    loss, cache = sources.max_dropped, (sources.cache_dir, sources.cache_otherwise)
    # Both before the first is read, which may take long.
    reader = FeatureReader(sources.data_train, options, sources.side_train)
    reader_dev = FeatureReader(sources.data_dev, options, sources.side_dev, "-dev")
    train = load_utterances(reader, sources.ali_train, "training data", loss, targets.get("train"), *cache)
    dev = load_utterances(
        reader_dev, sources.ali_dev, "cross-validation data", loss, targets.get("dev"), *cache
    )
    if train.dim != dev.dim:
        raise DktError(
            f"features of dimension {dev.dim}, {sources.data_train.path} has {train.dim}",
            path=sources.data_dev.path,
        )
    return train, dev


def _check_dense(objective: ObjectiveConfig, utterances: Utterances, path: str) -> None:
    """Raise DktError if logits are to be matched and some are not known: Posteriors do not list all pdfs."""
    if objective.needs_logits and utterances.targets is not None and not utterances.targets.dense:
        raise DktError(
            "logit matching needs all pdfs of every frame, these posteriors list some",
            path=path,
            hint="give matrices of nnet-forward, or the teacher by --teacher",
        )


def _raw_dim(data: DataDir, options: FeatureOptions) -> int:
    path = data.file(options.paste.split()[0], "steps/make_fbank.sh or steps/make_mfcc.sh")
    features = MatrixTable(f"scp:{path}")
    return int(features[next(iter(features))].shape[1])


def _targets_fingerprint(
    source: TargetSource | None, utterances: Utterances, objective: ObjectiveConfig
) -> str | None:
    if source is None:
        return None
    if isinstance(source, RunningTeacher):
        return source.fingerprint
    # Who learns at no temperature needs no tail at any.
    temperatures = objective.temperatures if "temperature" in objective.options else ()
    return experiment.targets_fingerprint(utterances, temperatures)
