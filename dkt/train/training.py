"""The training of a network, of any kind and on any objective: from directories to model files."""

from __future__ import annotations

import functools
import logging
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dkt.base.config import first_difference
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import hold_directory
from dkt.base.errors import DktError
from dkt.base.files import copy_file
from dkt.dataset.utterances import split_off
from dkt.nnet.model_file import ModelInfo, build_network, load_model
from dkt.nnet.network import Network
from dkt.nnet.networks import layers_text
from dkt.train import experiment
from dkt.train.batches import evaluation_batches, training_batches
from dkt.train.hint import Guided
from dkt.train.inputs import InitialModel, Inputs, Sources, open_inputs
from dkt.train.loop import TrainingLoop
from dkt.train.masking import make_masking
from dkt.train.modes import OBJECTIVES
from dkt.train.recipes import Recipe
from dkt.train.trainer import Trainer

logger = logging.getLogger(__name__)

#: The share of the training utterances that losses and accuracies of the training data are measured on.
EVALUATED_SHARE = 0.1

_LDA = "lda.mat"
# What of a network's configuration does not change its output.
_OF_TRAINING = ("dropout", "diff_clip", "cell_diff_clip")


def train_network(
    recipe: Recipe,
    sources: Sources,
    directory: Path,
    device: torch.device,
    steal_lock: bool = False,
    command: str = "dkt train",
) -> None:
    """Train a network and write ``final.pt`` and the files that Kaldi's scripts leave.

    In mode ``pretrain`` the first training is the experiment ``soft``, or whatever its mode is, inside the
    directory; the one that follows it is the experiment itself. Both models stay.

    Args:
        recipe: the configuration.
        sources: data, alignments, the teacher and initial weights.
        directory: of the experiment; an interrupted training in it goes on, a finished one is left as it is.
        device: where to train.
        steal_lock: take the directory from another process.
        command: who holds the directory, for others who want it.

    Raises:
        DktError: bad input, a mode that lacks its teacher or its labels, another experiment's directory, or
            one in which another process is at work.
    """
    *before, last = recipe.objective.phases
    phases = [(mode, directory / mode) for mode in before] + [(last, directory)]
    for _, place in phases:
        refuse_other_kinds(place, Kind.NETWORK)
    with ExitStack() as held:
        held.enter_context(hold_directory(directory, command, steal_lock))

        inputs = open_inputs(recipe, sources, device)
        info = _describe(recipe, inputs)
        files = _Files(recipe, info, inputs, directory)
        if experiment.record_configuration(directory, recipe, inputs.facts):
            experiment.mend(directory, files.write)
            logger.info("%s is there already, nothing to do", directory / experiment.MODEL)
            return

        if OBJECTIVES[last].hint:
            logger.warning(
                "a hint trains no output layer: this model is to begin from (--init-model; or mode pretrain "
                "with objective.first: hint), not to decode with"
            )
        begun = inputs.init
        for mode, place in phases:
            of_phase = replace(recipe, objective=recipe.objective.in_phase(mode))
            if place != directory:
                logger.info("%s training, in %s", mode, place)
                held.enter_context(hold_directory(place, command, steal_lock))
                if experiment.record_configuration(place, of_phase, inputs.facts):
                    experiment.mend(place, files.write)
                    begun = InitialModel(*load_model(place / experiment.MODEL), place / experiment.MODEL)
                    continue
            elif before:
                logger.info("%s training from there, in %s", mode, directory)
            files.write(place)
            lda = None if begun is not None else files.lda
            of_network = info if begun is None else _fine_tuned(info, recipe)
            network = _train(of_phase, of_network, inputs, begun, lda, place, device)
            experiment.save_result(place, of_network, network)
            begun = InitialModel(of_network, network, place / experiment.MODEL)


def _describe(recipe: Recipe, inputs: Inputs) -> ModelInfo:
    return ModelInfo.with_features(
        inputs.options,
        kind=recipe.kind,
        feature_dim=inputs.train.dim,
        num_pdfs=inputs.num_pdfs,
        left_context=recipe.splice,
        right_context=recipe.splice,
        network=asdict(recipe.network),
    )


def _fine_tuned(info: ModelInfo, recipe: Recipe) -> ModelInfo:
    """The network of a training that begins from other weights."""
    dropout = recipe.fine_tuning.dropout
    return info if dropout is None else replace(info, network=info.network | {"dropout": dropout})


class _Files:
    """What an experiment holds beside its model.

    Args:
        recipe: the configuration.
        info: of the network.
        inputs: of the training.
        directory: of the experiment.
    """

    def __init__(self, recipe: Recipe, info: ModelInfo, inputs: Inputs, directory: Path) -> None:
        self._recipe = recipe
        self._info = info
        self._inputs = inputs
        self._directory = directory

    @functools.cached_property
    def lda(self) -> np.ndarray | None:
        """The transform of the spliced features: of the model that is begun from, given or estimated."""
        if self._inputs.init is not None:
            return self._inputs.init.network.transform
        return self._recipe.make_lda(self._inputs.train, self._info.ivector_dim, self._info.num_pdfs)

    def write(self, place: Path) -> None:
        """Write them into a directory: that of the experiment, or one beside it."""
        inputs = self._inputs
        experiment.copy_kaldi_files(inputs.model_dir, place)
        experiment.write_feature_files(place, inputs.options, inputs.raw_dim)
        if inputs.counts is None:
            experiment.write_counts(place, inputs.train, self._info.num_pdfs)
        else:
            copy_file(inputs.counts, place / experiment.COUNTS)
        # An estimate takes a pass over the data: a training that has ended needs none if its own is there.
        if place != self._directory and (self._directory / _LDA).exists():
            return
        if self.lda is not None:
            experiment.write_matrix(place / _LDA, self.lda)


def _train(
    recipe: Recipe,
    info: ModelInfo,
    inputs: Inputs,
    begun: InitialModel | None,
    lda: np.ndarray | None,
    directory: Path,
    device: torch.device,
) -> Network:
    torch.manual_seed(recipe.training.seed)
    batches = training_batches(recipe, info, inputs.train, device)
    if begun is None:
        network = _fresh(info, lda).to(device)
        network.fit_normalisation(batches.network_inputs())
    else:
        network = _continued(begun, info).to(device)
    evaluated = {
        "train": split_off(inputs.train, EVALUATED_SHARE, recipe.training.seed),
        "cv": inputs.dev,
    }
    trainer = Trainer(
        _with_hint(recipe, network, inputs),
        batches,
        {name: evaluation_batches(recipe, info, data, device) for name, data in evaluated.items()},
        recipe.objective,
        recipe.optimizer,
        recipe.frames_per_update,
        device,
        recipe.training.precision,
        recipe.training.average_epochs,
        make_masking(recipe.masking, inputs.options, inputs.raw_dim, inputs.train),
    )
    logger.info(
        "%s, %d inputs, %d outputs, %.2f million weights; mode %s; %s, %d cv frames",
        " of ".join(filter(None, [recipe.kind.upper(), layers_text(info.network)])),
        info.spliced_dim,
        info.num_pdfs,
        sum(p.numel() for p in network.parameters()) / 1e6,
        recipe.objective.mode,
        batches.describe(),
        inputs.dev.num_frames,
    )
    schedule = recipe.schedule if begun is None else recipe.fine_tuning
    recipe.objective.warn_of_schedules(schedule.max_iters)
    TrainingLoop(trainer, schedule, recipe.training, directory, trained=begun is not None).run()
    return network


def _fresh(info: ModelInfo, lda: np.ndarray | None) -> Network:
    """A network with fresh weights, and the transform of its spliced features if there is one."""
    state = None if lda is None else {"lda.weight": torch.from_numpy(lda).float()}
    network = build_network(info, state)
    if lda is not None and network.transform is None:
        raise DktError(
            f"a {info.kind} does not apply a transform of spliced features",
            hint="leave out features.lda and features.lda_dim",
        )
    return network


def _continued(model: InitialModel, info: ModelInfo) -> Network:
    """A network with the weights of a model, which must be of the same shape and features."""
    # What is only of training may differ.
    ours, theirs = (
        {**of.describe(), "network": of.network | dict.fromkeys(_OF_TRAINING), **_cmvn(of)}
        for of in (info, model.info)
    )
    difference = first_difference(theirs, ours)
    if difference:
        raise DktError(
            f"the training cannot begin from this model: {difference}",
            path=model.path,
            hint="it takes one of the same features, pdfs and network",
        )
    state = model.network.state_dict()
    network = build_network(info, state)
    # Dropout, which has no weights, may be a module of only one of them, and change the names.
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network


def _cmvn(info: ModelInfo) -> dict[str, Any]:
    """CMVN as it is done, however it is written: an option may be left out."""
    if info.cmvn_opts is None:
        return {}
    options = {"--norm-means=true", *info.cmvn_opts.split()} - {"--norm-vars=false"}
    return {"cmvn_opts": " ".join(sorted(options))}


def _with_hint(recipe: Recipe, network: Network, inputs: Inputs) -> Network:
    """The network with what its objective needs beside it: of a hint the linear map."""
    if not OBJECTIVES[recipe.objective.mode].hint:
        return network
    assert inputs.train.targets is not None and inputs.train.targets.hint is not None
    dim = inputs.train.targets.hint.shape[1]
    return Guided(network, recipe.objective.guided_layer, dim)
