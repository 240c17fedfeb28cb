"""Training an LSTM, with or without a teacher: from directories to model files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dkt.base.config import first_difference
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import hold_directory
from dkt.base.errors import DktError
from dkt.base.files import copy_file
from dkt.dataset.utterances import Utterances, split_off
from dkt.hmm.counts import load_counts
from dkt.hmm.transition_model import load_transition_model
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.model_file import ModelInfo, build_lstm, fingerprint, load_model, model_file
from dkt.targets.target_source import TargetSource
from dkt.targets.teacher import RunningTeacher, TeachingOptions, open_teaching
from dkt.train import experiment
from dkt.train.criterion import Mode, ObjectiveConfig, check_dense, make_criterion
from dkt.train.inputs import EVALUATED_SHARE, FeatureConfig, TrainingInputs
from dkt.train.loop import LoopConfig, TrainingLoop
from dkt.train.optimizer import OptimizerConfig
from dkt.train.schedule import NewbobConfig
from dkt.train.sequence import BatchConfig, SequenceTraining
from dkt.validate.data_facts import DataFacts, check_reach

logger = logging.getLogger(__name__)

# What of a network's configuration does not change its output.
_OF_TRAINING = dict.fromkeys(("dropout", "diff_clip", "cell_diff_clip"))


@dataclass
class LstmRecipe:
    """The configuration of ``dkt train-lstm``; ``fine_tuning`` is the schedule of a training that begins from
    the weights of another one.
    """

    features: FeatureConfig = field(default_factory=FeatureConfig)
    network: LstmConfig = field(default_factory=LstmConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    batches: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adam", max_grad_norm=5.0))
    schedule: NewbobConfig = field(default_factory=lambda: NewbobConfig(learn_rate=0.001))
    fine_tuning: NewbobConfig = field(default_factory=lambda: NewbobConfig(learn_rate=0.0005))
    training: LoopConfig = field(default_factory=LoopConfig)

    def check_data(self, facts: DataFacts) -> None:
        """Raise DktError if the configuration does not go with the data that are to be trained on."""
        check_reach(self.network.target_delay, "network.target_delay", facts)


@dataclass
class StudentInputs:
    """What a student is made from.

    Attributes:
        training: data and alignments; soft targets are filled in from ``teaching``.
        teaching: where soft targets come from.
        hmm_dir: the alignment directory; without alignments a directory with the teacher's ``final.mdl`` and
            ``ali_train_pdf.counts``.
        init_model: a model file, or its directory, whose weights the training begins from; None for fresh
            ones.
    """

    training: TrainingInputs
    teaching: TeachingOptions
    hmm_dir: Path
    init_model: Path | None = None


def train_lstm(
    recipe: LstmRecipe,
    inputs: StudentInputs,
    directory: Path,
    device: torch.device,
    steal_lock: bool = False,
) -> None:
    """Train an LSTM and write ``final.pt`` and the files that Kaldi's scripts leave.

    In mode ``pretrain`` the soft training is the experiment ``soft`` inside the directory, the hard training
    that follows it the experiment itself; both models stay.

    Args:
        recipe: the configuration.
        inputs: data, alignments, the teacher and initial weights.
        directory: of the experiment; an interrupted training in it goes on, a finished one is left as it is.
        device: where to train.
        steal_lock: take the directory from another process.

    Raises:
        DktError: bad input, a mode that lacks its teacher or its labels, another experiment's directory, or
            one in which another process is at work.
    """
    for place in (directory, directory / experiment.SOFT):
        refuse_other_kinds(place, Kind.NETWORK)
    with hold_directory(directory, "dkt train-lstm", steal_lock):
        _train_held(recipe, inputs, directory, device, steal_lock)


def _train_held(
    recipe: LstmRecipe, inputs: StudentInputs, directory: Path, device: torch.device, steal_lock: bool
) -> None:
    check_inputs(recipe.objective, inputs)
    if inputs.teaching.given:
        _open_targets(recipe.objective, inputs, device)
    training = inputs.training
    options = recipe.features.options(training.data_train, training.side_train)
    train, dev = training.load(options)
    recipe.check_data(DataFacts.of(train, options.ivector_dim))
    for utterances in (train, dev):
        check_dense(recipe.objective, utterances.targets, inputs.teaching.soft_targets or "")
    info = ModelInfo.with_features(
        options,
        kind="lstm",
        feature_dim=train.dim,
        num_pdfs=inputs.training.num_pdfs,
        left_context=0,
        right_context=0,
        network=asdict(recipe.network),
    )
    facts = _facts(info, (train, dev), inputs, recipe.objective.temperature)

    write_files = partial(_write_files, info, train, inputs)
    if experiment.record_configuration(directory, recipe, facts):
        experiment.mend(directory, write_files)
        logger.info("%s is there already, nothing to do", directory / experiment.MODEL)
        return

    def phase(mode: Mode, where: Path, init_model: Path | None) -> None:
        of_phase = replace(recipe, objective=replace(recipe.objective, mode=mode))
        with ExitStack() as held:
            if where != directory:
                held.enter_context(hold_directory(where, "dkt train-lstm", steal_lock))
                if experiment.record_configuration(where, of_phase, facts):
                    experiment.mend(where, write_files)
                    return
            write_files(where)
            network = _train(of_phase, info, (train, dev), init_model, where, device)
            experiment.save_result(where, info, network)

    _run_phases(recipe.objective.mode, directory, inputs.init_model, phase)


def _open_targets(objective: ObjectiveConfig, inputs: StudentInputs, device: torch.device) -> None:
    training = inputs.training
    data = {"train": training.data_train, "dev": training.data_dev}
    sources = open_teaching(inputs.teaching, data, objective.temperature, inputs.hmm_dir, device)
    for source in sources.values():
        objective.check_header(source.header, source.where)
    training.targets_train, training.targets_dev = sources["train"], sources["dev"]


def _run_phases(
    mode: Mode, directory: Path, init_model: Path | None, phase: Callable[[Mode, Path, Path | None], None]
) -> None:
    if mode != "pretrain":
        phase(mode, directory, init_model)
        return
    soft = directory / experiment.SOFT
    logger.info("soft training, in %s", soft)
    phase("soft", soft, init_model)
    logger.info("hard training from there, in %s", directory)
    phase("hard", directory, soft)


def check_inputs(objective: ObjectiveConfig, inputs: StudentInputs) -> None:
    """Raise DktError for what can be wrong before anything large is read."""
    taught, mode = inputs.teaching.given, objective.mode
    if objective.needs_teacher and not taught:
        raise DktError(
            f"--mode {mode} needs a teacher",
            hint="give --soft-targets (steps/make_soft_targets.sh makes them), or --teacher",
        )
    if taught and not objective.needs_teacher:
        raise DktError(
            f"--mode {mode} makes no use of a teacher",
            hint="leave out --soft-targets and --teacher, or choose another mode",
        )
    if inputs.training.ali_train is None:
        if objective.needs_labels:
            raise DktError(
                f"--mode {mode} needs alignments", hint="without them choose --mode soft or logits"
            )
        _teachers_counts(inputs.hmm_dir)
    inputs.training.check()
    if inputs.init_model is not None:
        load_model(model_file(inputs.init_model))


def _teachers_counts(hmm_dir: Path) -> Path:
    """The file of the teacher's priors: nobody has counted labels of data without alignments."""
    path = hmm_dir / experiment.COUNTS
    if not path.is_file():
        raise DktError("does not exist", path=path, hint="give the teacher's directory by --hmm-dir")
    counts, expected = load_counts(path), load_transition_model(hmm_dir / "final.mdl").num_pdfs
    if len(counts) != expected:
        raise DktError(f"counts of {len(counts)} pdfs, final.mdl beside it has {expected}", path=path)
    return path


def _facts(
    info: ModelInfo, data: tuple[Utterances, Utterances], inputs: StudentInputs, temperature: float
) -> dict[str, Any]:
    training, (train, dev) = inputs.training, data
    unlabelled = training.ali_train is None
    init = None if inputs.init_model is None else load_model(model_file(inputs.init_model))[1]
    return {
        "feature_dim": info.feature_dim,
        "num_pdfs": info.num_pdfs,
        "train_data": experiment.data_fingerprint(train),
        "dev_data": experiment.data_fingerprint(dev),
        "teacher": None if training.targets_train is None else training.targets_train.header.fingerprint,
        "train_targets": _targets_fingerprint(training.targets_train, train, temperature),
        "dev_targets": _targets_fingerprint(training.targets_dev, dev, temperature),
        "counts": experiment.file_fingerprint(str(_teachers_counts(inputs.hmm_dir))) if unlabelled else None,
        "init_model": None if init is None else fingerprint(init),
        **experiment.pipeline_facts(info.feature_options),
    }


def _targets_fingerprint(
    source: TargetSource | None, utterances: Utterances, temperature: float
) -> str | None:
    if isinstance(source, RunningTeacher):
        return source.fingerprint
    return None if utterances.targets is None else experiment.targets_fingerprint(utterances, temperature)


def _write_files(info: ModelInfo, train: Utterances, inputs: StudentInputs, directory: Path) -> None:
    experiment.copy_kaldi_files(inputs.hmm_dir, directory)
    options = info.feature_options
    experiment.write_feature_files(directory, options, inputs.training.raw_dim(options))
    if inputs.training.ali_train is not None:
        experiment.write_counts(directory, train, info.num_pdfs)
        return
    copy_file(_teachers_counts(inputs.hmm_dir), directory / experiment.COUNTS)


def _train(
    recipe: LstmRecipe,
    info: ModelInfo,
    data: tuple[Utterances, Utterances],
    init_model: Path | None,
    directory: Path,
    device: torch.device,
) -> Lstm:
    torch.manual_seed(recipe.training.seed)
    train, dev = data
    if init_model is None:
        network = build_lstm(info).to(device)
        network.fit_normalisation(torch.from_numpy(rows).to(device) for rows in train.blocks(1 << 16))
    else:
        network = _initial(init_model, info, device)
    held = {"train": split_off(train, EVALUATED_SHARE, recipe.training.seed), "cv": dev}
    criterion = make_criterion(recipe.objective)
    task = SequenceTraining(
        network,
        train,
        held,
        criterion,
        recipe.batches,
        recipe.optimizer,
        device,
        recipe.training.precision,
    )
    logger.info(
        "LSTM of %d x %d cells, %d inputs, %d outputs, %.2f million weights; mode %s; "
        "%d training frames with %.1f %% padding, %d cv frames",
        recipe.network.layers,
        recipe.network.cells,
        info.feature_dim,
        info.num_pdfs,
        sum(p.numel() for p in network.parameters()) / 1e6,
        recipe.objective.mode,
        train.num_frames,
        100.0 * task.batches.padding_share(),
        dev.num_frames,
    )
    schedule = recipe.schedule if init_model is None else recipe.fine_tuning
    TrainingLoop(task, schedule, recipe.training, directory, trained=init_model is not None).run()
    return network


def _initial(path: Path, info: ModelInfo, device: torch.device) -> Lstm:
    """A network with the weights of a model, which must be of the same shape and features."""
    file = model_file(path)
    found, trained = load_model(file, device)
    # What is only of training may differ.
    ours, theirs = (
        {**of.describe(), "network": of.network | _OF_TRAINING, **_pipeline(of)} for of in (info, found)
    )
    difference = first_difference(theirs, ours)
    if difference:
        raise DktError(
            f"the training cannot begin from this model: {difference}",
            path=file,
            hint="it takes one of the same features, pdfs and network",
        )
    network = build_lstm(info).to(device)
    network.load_state_dict(trained.state_dict())
    return network


def _pipeline(info: ModelInfo) -> dict[str, Any]:
    """CMVN as it is done, however it is written: an option may be left out."""
    if info.cmvn_opts is None:
        return {}
    options = {"--norm-means=true", *info.cmvn_opts.split()} - {"--norm-vars=false"}
    return {"cmvn_opts": " ".join(sorted(options))}
