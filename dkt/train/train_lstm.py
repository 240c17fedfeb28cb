"""Training an LSTM, with or without a teacher: from directories to model files."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from dkt.dataset import Utterances, split_off
from dkt.errors import DktError
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.modelfile import ModelInfo, build_lstm, load_model
from dkt.train import experiment
from dkt.train.criterion import Mode, ObjectiveConfig, make_criterion
from dkt.train.inputs import EVALUATED_SHARE, FeatureConfig, TrainingInputs
from dkt.train.loop import LoopConfig, TrainingLoop
from dkt.train.optimizer import OptimizerConfig
from dkt.train.schedule import NewbobConfig
from dkt.train.sequence import BatchConfig, SequenceTraining

logger = logging.getLogger(__name__)

#: Where ``pretrain`` keeps its soft training, a whole experiment directory.
SOFT = "soft"


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


@dataclass
class StudentInputs:
    """What a student is made from.

    Attributes:
        training: data, alignments and soft targets.
        hmm_dir: the alignment directory; without alignments a directory with the teacher's ``final.mdl`` and
            ``ali_train_pdf.counts``.
        init_model: a model file whose weights the training begins from; None for fresh ones.
    """

    training: TrainingInputs
    hmm_dir: Path
    init_model: Path | None = None


def train_lstm(recipe: LstmRecipe, inputs: StudentInputs, directory: Path, device: torch.device) -> None:
    """Train an LSTM and write ``final.pt`` and the files that Kaldi's scripts leave.

    In mode ``pretrain`` the soft training is the experiment ``soft`` inside the directory, the hard training
    that follows it the experiment itself; both models stay.

    Args:
        recipe: the configuration.
        inputs: data, alignments, soft targets and initial weights.
        directory: of the experiment; an interrupted training in it goes on, a finished one is left as it is.
        device: where to train.

    Raises:
        DktError: bad input, a mode that lacks its teacher or its labels, or another experiment's directory.
    """
    _check(recipe.objective, inputs)
    train, dev = inputs.training.load(recipe.features)
    for utterances in (train, dev):
        if utterances.targets is not None:
            recipe.objective.check_targets(utterances.targets)
    info = ModelInfo(
        kind="lstm",
        feature_dim=train.features.shape[1],
        num_pdfs=inputs.training.num_pdfs,
        left_context=0,
        right_context=0,
        cmvn_opts=recipe.features.cmvn_opts,
        delta_opts=recipe.features.delta_opts,
        network=asdict(recipe.network),
    )
    facts = _facts(info, train, dev, inputs)
    if experiment.record_configuration(directory, recipe, facts):
        logger.info("%s is there already, nothing to do", directory / experiment.MODEL)
        return

    def phase(mode: Mode, where: Path, init_model: Path | None) -> None:
        of_phase = replace(recipe, objective=replace(recipe.objective, mode=mode))
        if where != directory and experiment.record_configuration(where, of_phase, facts):
            return
        _write_files(info, train, inputs, where)
        network = _train(of_phase, info, (train, dev), init_model, where, device)
        experiment.save_result(where, info, network)

    _run_phases(recipe.objective.mode, directory, inputs.init_model, phase)


def _run_phases(
    mode: Mode, directory: Path, init_model: Path | None, phase: Callable[[Mode, Path, Path | None], None]
) -> None:
    if mode != "pretrain":
        phase(mode, directory, init_model)
        return
    logger.info("soft training, in %s", directory / SOFT)
    phase("soft", directory / SOFT, init_model)
    logger.info("hard training from there, in %s", directory)
    phase("hard", directory, directory / SOFT / experiment.MODEL)


def _check(objective: ObjectiveConfig, inputs: StudentInputs) -> None:
    taught = inputs.training.targets_train is not None
    if objective.needs_teacher and not taught:
        raise DktError(
            f"--mode {objective.mode} needs a teacher",
            hint="give --soft-targets (steps/make_soft_targets.sh makes them), or --teacher",
        )
    if taught and not objective.needs_teacher:
        raise DktError(
            f"--mode {objective.mode} makes no use of a teacher",
            hint="leave out --soft-targets and --teacher, or choose another mode",
        )
    if objective.needs_labels and inputs.training.ali_train is None:
        raise DktError(
            f"--mode {objective.mode} needs alignments", hint="without them choose --mode soft or logits"
        )


def _facts(info: ModelInfo, train: Utterances, dev: Utterances, inputs: StudentInputs) -> dict[str, Any]:
    init = None if inputs.init_model is None else str(inputs.init_model)
    targets = inputs.training.targets_train
    return {
        "feature_dim": info.feature_dim,
        "num_pdfs": info.num_pdfs,
        "train_data": experiment.data_fingerprint(train),
        "dev_data": experiment.data_fingerprint(dev),
        "teacher": None if targets is None else targets.header.fingerprint,
        "init_model": experiment.file_fingerprint(init),
    }


def _write_files(info: ModelInfo, train: Utterances, inputs: StudentInputs, directory: Path) -> None:
    experiment.copy_kaldi_files(inputs.hmm_dir, directory)
    experiment.write_option_files(directory, cmvn_opts=info.cmvn_opts, delta_opts=info.delta_opts)
    if inputs.training.ali_train is not None:
        experiment.write_counts(directory, train.labels, info.num_pdfs)
        return
    # Nobody has counted labels of these data: the teacher's priors are the best there are.
    counts = inputs.hmm_dir / experiment.COUNTS
    if not counts.is_file():
        raise DktError(
            "does not exist", path=counts, hint="the priors are the teacher's, there are no labels to count"
        )
    shutil.copyfile(counts, directory / experiment.COUNTS)


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
        network.fit_normalisation(train.features.to(device).split(1 << 16))
    else:
        network = _initial(init_model, info, device)
    held = {"train": split_off(train, EVALUATED_SHARE, recipe.training.seed), "cv": dev}
    criterion = make_criterion(recipe.objective)
    task = SequenceTraining(network, train, held, criterion, recipe.batches, recipe.optimizer, device)
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
    """The network of a model file, which must be of the same shape and features."""
    found, network = load_model(path, device)
    for name, expected in asdict(info).items():
        if getattr(found, name) != expected:
            raise DktError(
                f"is a model of {name} {getattr(found, name)}, this training is of {expected}",
                path=path,
                hint="begin from a model of the same features, pdfs and network",
            )
    assert isinstance(network, Lstm)
    return network
