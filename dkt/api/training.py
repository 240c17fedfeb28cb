"""A training, of what ``dkt train`` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dkt.api.arguments import (
    PathName,
    ali_dir_of,
    data_dir_of,
    device_of,
    name_of,
    path_of,
    share_of,
    speaker_inputs_of,
    thread_policy_of,
    top_k_of,
)
from dkt.api.model import Model
from dkt.base.errors import DktError
from dkt.base.tally import DEFAULT_MAX_DROPPED
from dkt.dataset.cache import FOLDER
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet import threads
from dkt.targets.kaldi_posteriors import Form
from dkt.targets.store import TargetDir
from dkt.targets.teacher import TeachingOptions
from dkt.targets.top_k import ALL, DEFAULT, TopK
from dkt.train.inputs import Sources
from dkt.train.recipes import Recipe, load_recipe
from dkt.train.training import train_network
from dkt.util.data_dir import DataDir


def train_nnet(
    config: PathName | Mapping[str, Any] | None,
    data_train: PathName | DataDir,
    data_dev: PathName | DataDir,
    ali_train: PathName | AlignmentDir | None,
    ali_dev: PathName | AlignmentDir | None,
    exp_dir: PathName,
    *,
    soft_targets: PathName | TargetDir | None = None,
    soft_targets_dev: PathName | TargetDir | None = None,
    teacher: PathName | Model | None = None,
    teacher_data_train: PathName | DataDir | None = None,
    teacher_data_dev: PathName | DataDir | None = None,
    top_k: int | str | TopK = DEFAULT,
    targets_form: Form | None = None,
    transition_ids: bool = False,
    hmm_dir: PathName | None = None,
    init_model: PathName | Model | None = None,
    transform_dir: PathName | None = None,
    transform_dir_dev: PathName | None = None,
    ivectors: PathName | None = None,
    ivectors_dev: PathName | None = None,
    max_dropped: float = DEFAULT_MAX_DROPPED,
    cache_dir: PathName | None = None,
    steal_lock: bool = False,
    device: str | torch.device = "cpu",
    num_threads: int = 1,
    **sections: Mapping[str, Any],
) -> Model:
    """Train a network, as ``dkt train``, whose options these arguments are.

    The same configuration, data, device and seed give the same model as the command, bit by bit. A training
    that was interrupted goes on; one that has ended is not done again.

    Args:
        config: a YAML file, or the same as a mapping; None for the defaults.
        data_train, data_dev: data directories, for training and for cross-validation.
        ali_train, ali_dev: their alignment directories; None, both, where a teacher alone labels the data.
        exp_dir: where the experiment shall be.
        soft_targets, soft_targets_dev: directories of soft targets, or rspecifiers of posteriors.
        teacher: the model that is run now; beside ``soft_targets``, the one they must be of.
        teacher_data_train, teacher_data_dev: data directories with the features of the teacher that is run.
        top_k: posteriors that are kept of a teacher that is run, or of an archive.
        targets_form, transition_ids: of archives, see ``dkt.targets.teacher.TeachingOptions``.
        hmm_dir: of data without alignments: where ``final.mdl`` and ``ali_train_pdf.counts`` are.
        init_model: the model whose weights are begun with.
        transform_dir, transform_dir_dev, ivectors, ivectors_dev: speaker inputs, see ``Model.features``.
        max_dropped: the share of the utterances that may be lost.
        cache_dir: where packed features are kept; ``none`` for nowhere, None for the data directories.
        steal_lock: take the directory from another process.
        device: cpu, cuda or cuda:N.
        num_threads: CPU threads; the result does not depend on them.
        sections: keys that are set beside ``config``, and win: ``objective={"mode": "soft"}``.

    Returns:
        The trained model, on the device.

    Raises:
        DktError: as the command tells it.
    """
    where = device_of(device)
    recipe = _recipe(config, sections)
    directory = path_of(exp_dir, "exp_dir")
    initial = name_of(init_model, "init_model")
    teaching = TeachingOptions(
        soft_targets=name_of(soft_targets, "soft_targets"),
        soft_targets_dev=name_of(soft_targets_dev, "soft_targets_dev"),
        teacher=name_of(teacher, "teacher"),
        teacher_data_train=name_of(teacher_data_train, "teacher_data_train"),
        teacher_data_dev=name_of(teacher_data_dev, "teacher_data_dev"),
        top_k=ALL if recipe.objective.needs_logits else top_k_of(top_k),
        form=targets_form,
        transition_ids=transition_ids,
    )
    sources = Sources(
        data_dir_of(data_train, "data_train"),
        data_dir_of(data_dev, "data_dev"),
        ali_dir_of(ali_train, "ali_train"),
        ali_dir_of(ali_dev, "ali_dev"),
        teaching,
        hmm_dir=None if hmm_dir is None else path_of(hmm_dir, "hmm_dir"),
        init_model=None if initial is None else Path(initial),
        max_dropped=share_of(max_dropped, "max_dropped"),
        side_train=speaker_inputs_of(transform_dir, ivectors),
        side_dev=speaker_inputs_of(transform_dir_dev, ivectors_dev),
        cache_dir=name_of(cache_dir, "cache_dir"),
        cache_otherwise=directory / FOLDER,
    )
    # The caller may be at work with PyTorch: with its random numbers, or without gradients.
    with (
        threads.using(thread_policy_of(num_threads)),
        torch.random.fork_rng(),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        train_network(recipe, sources, directory, where, steal_lock, "dkt.train_nnet")
    return Model.load(directory, where)


def _recipe(config: PathName | Mapping[str, Any] | None, sections: Mapping[str, Any]) -> Recipe:
    settings = [f"{name}={_plain(values)}" for name, values in sections.items()]
    if config is None or isinstance(config, Mapping):
        recipe = load_recipe(None, None, settings, values=json.loads(_plain(config or {})))
    else:
        recipe = load_recipe(None, path_of(config, "config"), settings)
    recipe.features.check_files()
    return recipe


def _plain(values: Any) -> str:
    """Values of a configuration as JSON, which is YAML too."""

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Path):
            return str(value)
        raise TypeError

    try:
        return json.dumps(values, default=convert)
    except (TypeError, ValueError, RecursionError):
        raise DktError(f"a configuration has numbers, texts, lists and mappings, found {values!r}") from None
