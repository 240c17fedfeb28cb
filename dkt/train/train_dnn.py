"""Training a DNN on hard labels: from directories to a model file."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from dkt.base import ranges
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import hold_directory
from dkt.base.errors import DktError
from dkt.dataset.frames import SplicedFrames
from dkt.dataset.utterances import Utterances, split_off
from dkt.feat.pipeline import MatrixFile
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.model_file import ModelInfo, build_dnn
from dkt.train import experiment, objectives
from dkt.train.frames import FrameOptimizerConfig, FrameTraining
from dkt.train.inputs import EVALUATED_SHARE, FeatureConfig, TrainingInputs
from dkt.train.loop import LoopConfig, TrainingLoop
from dkt.train.schedule import NewbobConfig
from dkt.transform.lda import accumulate_spliced, check_estimable
from dkt.util.object_io import ObjectReader
from dkt.validate.data_facts import DataFacts, check_reach

logger = logging.getLogger(__name__)

_LDA = "lda.mat"

_EVALUATION_BATCH = 2048


@dataclass
class SplicedFeatureConfig(FeatureConfig):
    """What is done to the features of a DNN, in Kaldi's words.

    Attributes:
        splice: frames of context on each side.
        lda: a matrix file that is applied to the spliced features; null for none.
        lda_dim: dimension of an LDA of the spliced features that is estimated from the training data and
            their labels; null for none.
    """

    splice: Annotated[int, ranges.CONTEXT] = 5
    lda: Annotated[str | None, ranges.FileName()] = None
    lda_dim: Annotated[int | None, ranges.DIMENSION] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lda is not None and self.lda_dim is not None:
            raise DktError("'features.lda' and 'features.lda_dim' exclude each other", hint="set one to null")

    def check_files(self) -> None:
        """Raise DktError unless the matrices that are named are there and can be read."""
        super().check_files()
        if self.lda is not None:
            MatrixFile.read(self.lda)


@dataclass
class DnnRecipe:
    """The configuration of ``dkt train-dnn``."""

    features: SplicedFeatureConfig = field(default_factory=SplicedFeatureConfig)
    network: DnnConfig = field(default_factory=DnnConfig)
    optimizer: FrameOptimizerConfig = field(default_factory=FrameOptimizerConfig)
    schedule: NewbobConfig = field(default_factory=NewbobConfig)
    training: LoopConfig = field(default_factory=LoopConfig)

    def check_data(self, facts: DataFacts) -> None:
        """Raise DktError if the configuration does not go with the data that are to be trained on."""
        check_reach(self.features.splice, "features.splice", facts)
        _check_lda(self.features, facts)


def train_dnn(
    recipe: DnnRecipe,
    inputs: TrainingInputs,
    directory: Path,
    device: torch.device,
    steal_lock: bool = False,
) -> None:
    """Train a DNN and write ``final.pt`` and the files that Kaldi's scripts leave.

    Args:
        recipe: the configuration.
        inputs: data and alignments, for training and for cross-validation.
        directory: of the experiment; an interrupted training in it goes on, a finished one is left as it is.
        device: where to train.
        steal_lock: take the directory from another process.

    Raises:
        DktError: bad input, or the directory holds another experiment, or another process is at work in it.
    """
    refuse_other_kinds(directory, Kind.NETWORK)
    with hold_directory(directory, "dkt train-dnn", steal_lock):
        _train_held(recipe, inputs, directory, device)


def _train_held(recipe: DnnRecipe, inputs: TrainingInputs, directory: Path, device: torch.device) -> None:
    assert inputs.ali_train is not None
    inputs.check()
    options = recipe.features.options(inputs.data_train, inputs.side_train)
    train, dev = inputs.load(options)
    recipe.check_data(DataFacts.of(train, options.ivector_dim, inputs.ali_train.num_pdfs))
    info = ModelInfo.with_features(
        options,
        kind="dnn",
        feature_dim=train.dim,
        num_pdfs=inputs.ali_train.num_pdfs,
        left_context=recipe.features.splice,
        right_context=recipe.features.splice,
        network=asdict(recipe.network),
    )
    facts = {
        "feature_dim": info.feature_dim,
        "num_pdfs": info.num_pdfs,
        "train_data": experiment.data_fingerprint(train),
        "dev_data": experiment.data_fingerprint(dev),
        "lda": experiment.file_fingerprint(recipe.features.lda),
        **experiment.pipeline_facts(options),
    }
    hmm_dir = inputs.ali_train.path

    def write_files(place: Path) -> np.ndarray | None:
        experiment.copy_kaldi_files(hmm_dir, place)
        experiment.write_feature_files(place, options, inputs.raw_dim(options))
        experiment.write_counts(place, train, info.num_pdfs)
        # An estimate takes a pass over the data: a training that has ended needs none if its own is there.
        if place != directory and (directory / _LDA).exists():
            return None
        lda = _lda(recipe.features, info, train)
        if lda is not None:
            experiment.write_matrix(place / _LDA, lda)
        return lda

    if experiment.record_configuration(directory, recipe, facts):
        experiment.mend(directory, write_files)
        logger.info("%s is there already, nothing to do", directory / experiment.MODEL)
        return
    network = _train(recipe, info, (train, dev), write_files(directory), directory, device)
    experiment.save_result(directory, info, network)


def _train(
    recipe: DnnRecipe,
    info: ModelInfo,
    data: tuple[Utterances, Utterances],
    lda: np.ndarray | None,
    directory: Path,
    device: torch.device,
) -> Dnn:
    torch.manual_seed(recipe.training.seed)
    train, dev = data
    network = build_dnn(info, None if lda is None else torch.from_numpy(lda).float()).to(device)

    def frames(utterances: Utterances, batch_size: int) -> SplicedFrames:
        return SplicedFrames(
            utterances, info.left_context, info.right_context, batch_size, device, info.ivector_dim
        )

    shuffled = frames(train, recipe.optimizer.minibatch_size)
    held = {
        "train": frames(split_off(train, EVALUATED_SHARE, recipe.training.seed), _EVALUATION_BATCH),
        "cv": frames(dev, _EVALUATION_BATCH),
    }
    network.fit_normalisation(spliced for spliced, _ in shuffled)
    logger.info(
        "DNN of %d x %d, %d inputs, %d outputs, %.2f million weights; %d training and %d cv frames",
        recipe.network.hidden_layers,
        recipe.network.hidden_dim,
        info.spliced_dim,
        info.num_pdfs,
        sum(p.numel() for p in network.parameters()) / 1e6,
        train.num_frames,
        dev.num_frames,
    )
    task = FrameTraining(
        network, shuffled, held, objectives.hard, recipe.optimizer, recipe.training.precision
    )
    TrainingLoop(task, recipe.schedule, recipe.training, directory).run()
    return network


def _check_lda(config: SplicedFeatureConfig, facts: DataFacts) -> None:
    """Raise DktError if the transform is of other features, or cannot be estimated from the data."""
    shape = None if config.lda is None else MatrixFile.read(config.lda).values.shape
    if facts.acoustic_dim is None:
        return
    spliced = (2 * config.splice + 1) * facts.acoustic_dim
    if config.lda_dim is not None:
        if config.lda_dim > spliced:
            raise DktError(f"'features.lda_dim' is {config.lda_dim}, but the spliced features have {spliced}")
        if facts.pdf_frames is not None:
            check_estimable(config.lda_dim, spliced, facts.pdf_frames)
    # An offset is the last column.
    if shape is not None and shape[1] not in (spliced, spliced + 1):
        raise DktError(
            f"the transform has shape {shape}, but the spliced features (without i-vectors) have dimension "
            f"{spliced}",
            path=config.lda,
            hint="it goes with features of one dimension and 'features.splice': give those it was made for",
        )


def _lda(config: SplicedFeatureConfig, info: ModelInfo, train: Utterances) -> np.ndarray | None:
    """The linear transform of the spliced features, given or estimated; i-vectors pass through it."""
    if config.lda is not None:
        matrix = ObjectReader.open(config.lda).matrix()
    elif config.lda_dim is not None:
        acoustic = train.dim - info.ivector_dim
        stats = accumulate_spliced(
            ((train.features_of(u)[:, :acoustic], train.labels_of(u)) for u in range(len(train.names))),
            acoustic,
            info.left_context,
            info.right_context,
            info.num_pdfs,
        )
        matrix = stats.estimate(config.lda_dim)
    else:
        return None
    if info.ivector_dim == 0:
        return matrix
    rows, columns = matrix.shape
    acoustic_dim = info.spliced_dim - info.ivector_dim
    whole = np.zeros((rows + info.ivector_dim, info.spliced_dim + columns - acoustic_dim), matrix.dtype)
    whole[:rows, :acoustic_dim] = matrix[:, :acoustic_dim]
    whole[rows:, acoustic_dim : info.spliced_dim] = np.eye(info.ivector_dim)
    # An offset is the last column.
    whole[:rows, info.spliced_dim :] = matrix[:, acoustic_dim:]
    return whole
