"""Training a DNN on hard labels: from directories to a model file."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from dkt import objectives
from dkt.dataset import SplicedFrames, Utterances, split_off
from dkt.errors import DktError
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.modelfile import ModelInfo, build_dnn
from dkt.objectio import ObjectReader
from dkt.train import experiment
from dkt.train.frames import FrameOptimizerConfig, FrameTraining
from dkt.train.inputs import EVALUATED_SHARE, FeatureConfig, TrainingInputs
from dkt.train.loop import LoopConfig, TrainingLoop
from dkt.train.schedule import NewbobConfig

logger = logging.getLogger(__name__)

_EVALUATION_BATCH = 2048


@dataclass
class SplicedFeatureConfig(FeatureConfig):
    """What is done to the features of a DNN, in Kaldi's words.

    Attributes:
        splice: frames of context on each side.
        lda: a matrix file that is applied to the spliced features; null for none.
    """

    splice: int = 5
    lda: str | None = None

    def __post_init__(self) -> None:
        if self.splice < 0:
            raise DktError(f"'features.splice' is {self.splice}, expected 0 or more frames")


@dataclass
class DnnRecipe:
    """The configuration of ``dkt train-dnn``."""

    features: SplicedFeatureConfig = field(default_factory=SplicedFeatureConfig)
    network: DnnConfig = field(default_factory=DnnConfig)
    optimizer: FrameOptimizerConfig = field(default_factory=FrameOptimizerConfig)
    schedule: NewbobConfig = field(default_factory=NewbobConfig)
    training: LoopConfig = field(default_factory=LoopConfig)


def train_dnn(recipe: DnnRecipe, inputs: TrainingInputs, directory: Path, device: torch.device) -> None:
    """Train a DNN and write ``final.pt`` and the files that Kaldi's scripts leave.

    Args:
        recipe: the configuration.
        inputs: data and alignments, for training and for cross-validation.
        directory: of the experiment; an interrupted training in it goes on, a finished one is left as it is.
        device: where to train.

    Raises:
        DktError: bad input, or the directory holds another experiment.
    """
    assert inputs.ali_train is not None
    inputs.check()
    train, dev = inputs.load(recipe.features)
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
    experiment.copy_kaldi_files(inputs.ali_train.path, directory)
    experiment.write_option_files(directory, cmvn_opts=info.cmvn_opts, delta_opts=info.delta_opts)
    experiment.write_counts(directory, train.labels, info.num_pdfs)
    network = _train(recipe, info, train, dev, directory, device)
    experiment.save_result(directory, info, network)


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
    network = build_dnn(info, None if lda is None else torch.from_numpy(lda).float()).to(device)

    def frames(utterances: Utterances, batch_size: int) -> SplicedFrames:
        return SplicedFrames(utterances, info.left_context, info.right_context, batch_size, device)

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
    task = FrameTraining(network, shuffled, held, objectives.hard, recipe.optimizer)
    TrainingLoop(task, recipe.schedule, recipe.training, directory).run()
    return network
