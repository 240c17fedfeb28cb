"""Training a DNN on hard labels: from directories to a model file."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from dkt import objectives
from dkt.alignments import AlignmentDir, count_pdfs, save_counts
from dkt.datadir import DataDir
from dkt.dataset import SplicedFrames, Utterances, check_cv_disjoint, load_utterances, split_off
from dkt.errors import DktError
from dkt.feature_reader import FeatureOptions, FeatureReader
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.modelfile import ModelInfo, build_network, fingerprint, save_model
from dkt.objectio import ObjectReader
from dkt.tally import DEFAULT_MAX_LOSS
from dkt.train import experiment
from dkt.train.frames import FrameTraining, OptimizerConfig
from dkt.train.loop import LoopConfig, TrainingLoop
from dkt.train.schedule import NewbobConfig

logger = logging.getLogger(__name__)

_EVALUATED_SHARE = 0.1
_EVALUATION_BATCH = 2048


@dataclass
class FeatureConfig:
    """What is done to the features, in Kaldi's words.

    Attributes:
        cmvn_opts: options of apply-cmvn; null for no CMVN.
        delta_opts: options of add-deltas; null for no deltas.
        splice: frames of context on each side.
        lda: a matrix file that is applied to the spliced features; null for none.
    """

    cmvn_opts: str | None = "--norm-means=true --norm-vars=false"
    delta_opts: str | None = None
    splice: int = 5
    lda: str | None = None

    def __post_init__(self) -> None:
        if self.splice < 0:
            raise DktError(f"'features.splice' is {self.splice}, expected 0 or more frames")


@dataclass
class DnnRecipe:
    """The configuration of ``dkt train-dnn``."""

    features: FeatureConfig = field(default_factory=FeatureConfig)
    network: DnnConfig = field(default_factory=DnnConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: NewbobConfig = field(default_factory=NewbobConfig)
    training: LoopConfig = field(default_factory=LoopConfig)


@dataclass
class DnnInputs:
    """The directories that a training reads, and what it may lose of them."""

    data_train: DataDir
    data_dev: DataDir
    ali_train: AlignmentDir
    ali_dev: AlignmentDir
    max_loss: float = DEFAULT_MAX_LOSS


def _load(inputs: DnnInputs, features: FeatureConfig) -> tuple[Utterances, Utterances]:
    if inputs.ali_train.num_pdfs != inputs.ali_dev.num_pdfs:
        raise DktError(
            f"{inputs.ali_dev.num_pdfs} pdfs, {inputs.ali_train.path} has {inputs.ali_train.num_pdfs}",
            path=inputs.ali_dev.path,
            hint="align both with one model",
        )
    check_cv_disjoint(inputs.data_train, inputs.data_dev)
    options = FeatureOptions(features.cmvn_opts, features.delta_opts)
    train = load_utterances(
        FeatureReader(inputs.data_train, options), inputs.ali_train, "training data", inputs.max_loss
    )
    dev = load_utterances(
        FeatureReader(inputs.data_dev, options), inputs.ali_dev, "cross-validation data", inputs.max_loss
    )
    if train.features.shape[1] != dev.features.shape[1]:
        raise DktError(
            f"features of dimension {dev.features.shape[1]}, {inputs.data_train.path} has "
            f"{train.features.shape[1]}",
            path=inputs.data_dev.path,
        )
    return train, dev


def train_dnn(recipe: DnnRecipe, inputs: DnnInputs, directory: Path, device: torch.device) -> None:
    """Train a DNN and write ``final.pt`` and the files that Kaldi's scripts leave.

    Args:
        recipe: the configuration.
        inputs: data and alignments, for training and for cross-validation.
        directory: of the experiment; an interrupted training in it goes on, a finished one is left as it is.
        device: where to train.

    Raises:
        DktError: bad input, or the directory holds another experiment.
    """
    train, dev = _load(inputs, recipe.features)
    info = ModelInfo(
        kind="dnn",
        feature_dim=train.features.shape[1],
        num_pdfs=inputs.ali_train.num_pdfs,
        left_context=recipe.features.splice,
        right_context=recipe.features.splice,
        cmvn_opts=recipe.features.cmvn_opts,
        delta_opts=recipe.features.delta_opts,
        network=asdict(recipe.network),
    )
    facts = {
        "feature_dim": info.feature_dim,
        "num_pdfs": info.num_pdfs,
        "train_data": experiment.data_fingerprint(train),
        "dev_data": experiment.data_fingerprint(dev),
        "lda": experiment.file_fingerprint(recipe.features.lda),
    }
    if experiment.record_configuration(directory, recipe, facts):
        logger.info("%s is there already, nothing to do", directory / experiment.MODEL)
        return
    experiment.copy_kaldi_files(inputs.ali_train, directory)
    experiment.write_option_files(directory, cmvn_opts=info.cmvn_opts, delta_opts=info.delta_opts)
    counts = count_pdfs([train.labels.numpy()], info.num_pdfs)
    save_counts(directory / experiment.COUNTS, counts)
    logger.info(
        "%d pdfs, %d of them never seen in training", info.num_pdfs, int(np.count_nonzero(counts < 1.0))
    )
    network = _train(recipe, info, train, dev, directory, device)
    save_model(directory / experiment.MODEL, info, network)
    (directory / "checkpoint.pt").unlink(missing_ok=True)
    logger.info("model %s (fingerprint %s)", directory / experiment.MODEL, fingerprint(network))


def _train(
    recipe: DnnRecipe,
    info: ModelInfo,
    train: Utterances,
    dev: Utterances,
    directory: Path,
    device: torch.device,
) -> Dnn:
    torch.manual_seed(recipe.training.seed)
    lda = ObjectReader.open(recipe.features.lda).matrix() if recipe.features.lda else None
    network = build_network(info, None if lda is None else torch.from_numpy(lda).float()).to(device)

    def frames(utterances: Utterances, batch_size: int) -> SplicedFrames:
        return SplicedFrames(utterances, info.left_context, info.right_context, batch_size, device)

    shuffled = frames(train, recipe.optimizer.minibatch_size)
    held = {
        "train": frames(split_off(train, _EVALUATED_SHARE, recipe.training.seed), _EVALUATION_BATCH),
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
    task = FrameTraining(network, shuffled, held, objectives.hard, recipe.optimizer)
    TrainingLoop(task, recipe.schedule, recipe.training, directory).run()
    return network
