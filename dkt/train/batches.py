"""The batches that a training and its evaluations are made of, as a configuration asks for them."""

from __future__ import annotations

import torch

from dkt.dataset.batch import Batches
from dkt.dataset.frames import SplicedFrames
from dkt.dataset.sequences import Chunks, Streams, WholeUtterances
from dkt.dataset.utterances import Utterances
from dkt.nnet.model_file import ModelInfo
from dkt.train.recipes import FrameRecipe, Recipe, SequenceRecipe

# Of an evaluation: frames of a mini-batch, and of whole utterances.
_EVALUATED = 2048
_EVALUATED_SEQUENCES = 8192


def training_batches(
    recipe: Recipe, info: ModelInfo, utterances: Utterances, device: torch.device
) -> Batches:
    """The batches of the training data.

    Args:
        recipe: the configuration.
        info: of the network, for the splicing.
        utterances: the data.
        device: where batches go.
    """
    if isinstance(recipe, FrameRecipe):
        return _spliced(info, utterances, recipe.optimizer.minibatch_size, device)
    assert isinstance(recipe, SequenceRecipe)
    config, delay = recipe.batches, recipe.target_delay
    if config.kind == "streams":
        return Streams(utterances, delay, config.num_streams, config.chunk, device)
    if config.kind == "utterances":
        return WholeUtterances(utterances, delay, config.frames_per_batch, device)
    contexts = (config.chunk_left_context, config.chunk_right_context)
    return Chunks(utterances, delay, config.num_streams, config.chunk, *contexts, device)


def evaluation_batches(
    recipe: Recipe, info: ModelInfo, utterances: Utterances, device: torch.device
) -> Batches:
    """The batches of data that a network is measured on: whole utterances for networks on sequences."""
    if isinstance(recipe, FrameRecipe):
        return _spliced(info, utterances, _EVALUATED, device)
    assert isinstance(recipe, SequenceRecipe)
    return WholeUtterances(utterances, recipe.target_delay, _EVALUATED_SEQUENCES, device)


def _spliced(info: ModelInfo, utterances: Utterances, size: int, device: torch.device) -> SplicedFrames:
    return SplicedFrames(utterances, info.left_context, info.right_context, size, device, info.ivector_dim)
