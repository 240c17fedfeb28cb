"""The experiment directory of a network, laid out as Kaldi's nnet1 scripts leave theirs."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from dkt.base.config import first_difference, read_yaml
from dkt.base.directory_lock import require_lock
from dkt.base.errors import DamagedError, DktError
from dkt.base.files import (
    BACKUP,
    cannot_write,
    copy_file,
    free_name,
    is_there,
    partial_directory,
    remove_leftovers,
    replace_file,
    replace_link,
)
from dkt.base.sealed import is_torch_file
from dkt.dataset.utterances import Utterances
from dkt.feat.pipeline import FeatureOptions
from dkt.hmm.counts import count_pdfs, save_counts
from dkt.nnet.model_file import ModelInfo, fingerprint, load_model, save_model
from dkt.nnet.network import Network
from dkt.nnet.nnet1.feature_transform import beyond_kaldi, feature_transform
from dkt.nnet.nnet1.writer import write_nnet1
from dkt.targets.soft_targets import SoftTargets
from dkt.train.checkpoint import has_checkpoint, remove_checkpoints
from dkt.train.recipes import TYPE, Recipe, load_recipe
from dkt.util.object_io import ObjectWriter

logger = logging.getLogger(__name__)

MODEL = "final.pt"
#: What Kaldi's ``steps/nnet`` scripts ask for: ``steps/compat/nnet-forward`` runs the model under that name.
KALDI_MODEL = "final.nnet"
FEATURE_TRANSFORM = "final.feature_transform"
CONFIG = "config.yaml"
#: The directory of the first training of pretrain, unless it is of another mode.
SOFT = "soft"
#: What of it is not a setting, but decides the result.
DERIVED = "derived"
COUNTS = "ali_train_pdf.counts"
#: Where a model is moved that is to be trained again.
_OPTION_FILES = ("cmvn_opts", "online_cmvn_opts", "delta_opts", "splice_opts")
# Kaldi's scripts leave out a step whose file is empty; defaults are written out.
_DEFAULTS = {
    "cmvn_opts": "--norm-means=true",
    "online_cmvn_opts": "--norm-means=true",
    "delta_opts": "--delta-order=2",
}
_COPIED = ("final.mdl", "tree", "phones.txt")


def data_fingerprint(utterances: Utterances) -> str:
    """A hash of utterances, labels and features: other data make another experiment."""
    digest = hashlib.sha256("\n".join(utterances.names).encode())
    # Utterance by utterance, wherever they come from: these are the largest arrays there are.
    for read in (utterances.labels_of, utterances.features_of):
        for utterance in range(len(utterances.names)):
            digest.update(read(utterance).data)
    return digest.hexdigest()[:16]


def targets_fingerprint(utterances: Utterances, temperatures: Sequence[float]) -> str:
    """A hash of soft targets as they are used at some temperatures: others make another experiment."""
    stored = utterances.targets
    assert stored is not None
    digest = hashlib.sha256()
    parts: list[Callable[[SoftTargets], torch.Tensor]] = [lambda targets: targets.log_post]
    if not stored.dense:
        parts.append(lambda targets: targets.pdfs)
        parts += [functools.partial(SoftTargets.tail, temperature=value) for value in temperatures]
    for part in parts:
        for utterance in range(len(utterances.names)):
            values = part(stored.select(utterances.rows_of(utterance)))
            digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()[:16]


def file_fingerprint(path: str | None) -> str | None:
    """A hash of a file that the result depends on; None for none."""
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise DktError(f"cannot be read: {error.strerror}", path=path) from None


def record_configuration(directory: Path, recipe: Recipe, facts: dict[str, Any]) -> bool:
    """Make the directory, or make sure that it belongs to the same experiment.

    Args:
        directory: the experiment directory.
        recipe: the effective configuration.
        facts: what else decides the result: plain values, as the number of pdfs or fingerprints of the data.

    Returns:
        Whether the training is done already.

    Raises:
        DktError: the directory holds an experiment of another configuration, whose first difference is named,
            or a network of Kaldi's.
    """
    content = {**recipe.describe(), DERIVED: facts}
    # What is shown of a training does not change it: events may be asked for, or not, when it goes on.
    content["training"].pop("tensorboard", None)
    path = directory / CONFIG
    _refuse_kaldis(directory / KALDI_MODEL)
    # A directory in which nothing was learnt belongs to nobody: what went wrong there may be mended.
    before = read_yaml(path) if path.is_file() else {}
    places = [directory, directory / recipe.objective.first]
    if isinstance(before.get("objective"), dict):
        places.append(directory / str(before["objective"].get("first", SOFT)))
    begun = any(is_there(place / MODEL) or has_checkpoint(place) for place in places)
    if begun and path.exists():
        _compare(path, recipe.kind, before, content)
    elif begun:
        raise DktError(
            "holds a model of unknown configuration", path=directory, hint="choose another directory"
        )
    else:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(directory, error) from None
        replace_file(path, yaml.safe_dump(content, sort_keys=False).encode("utf-8"))
    return _is_finished(directory, directory / recipe.objective.first)


def _is_finished(directory: Path, first_phase: Path) -> bool:
    """Whether the model is there and whole; what a kill in its last moments left undone is done now."""
    model = directory / MODEL
    if not is_there(model):
        return False
    try:
        load_model(model)
    except DamagedError as error:
        kept = free_name(model, BACKUP)
        logger.warning("%s: it is moved to %s and trained again", error, kept)
        try:
            kept.parent.mkdir(exist_ok=True)
            model.replace(kept)
        except OSError as problem:
            raise cannot_write(kept, problem) from None
        return False
    _warn_of_first_phase(first_phase / MODEL)
    if os.access(directory, os.W_OK):
        remove_leftovers(directory)
        remove_checkpoints(directory)
    return True


def _warn_of_first_phase(model: Path) -> None:
    """A finished training needs the model of its first phase no more, but its user may."""
    try:
        if model.exists():
            load_model(model)
    except DamagedError as error:
        logger.warning("%s: the training has ended and needs it no more", error)


def mend(directory: Path, write_files: Callable[[Path], object]) -> None:
    """Make again what is missing beside the model of a training that has ended.

    Args:
        directory: the experiment directory; one that cannot be written in stays as it is.
        write_files: writes what is made before the training into a directory.

    Raises:
        DktError: a source of it is missing.
    """
    if not os.access(directory, os.W_OK):
        return
    with partial_directory(directory / "mended") as made:
        write_files(made)
        for file in sorted(made.iterdir()):
            target = directory / file.name
            if target.exists():
                continue
            try:
                file.replace(target)
            except OSError as error:
                raise cannot_write(target, error) from None
            logger.warning("%s was missing: it is made again", target)
    if not (directory / KALDI_MODEL).exists():
        _link_for_kaldi(directory)


def _refuse_kaldis(network: Path) -> None:
    # Copies of directories may have files for links.
    ours = network.is_symlink() and network.readlink() == Path(MODEL)
    if not ours and network.exists() and not is_torch_file(network):
        raise DktError("is a network that dkt did not train", path=network, hint="choose another directory")


def _compare(path: Path, kind: str, before: dict[str, Any], content: dict[str, Any]) -> None:
    network = before.get("network")
    network = network if isinstance(network, dict) else {}
    # Configurations of earlier times do not say the kind.
    earlier = network.get(TYPE) or ("dnn" if "hidden_layers" in network else "lstm")
    if network and earlier != kind:
        difference: str | None = f"'network.{TYPE}' was {earlier!r} and is {kind!r} now"
    else:
        difference = first_difference(_as_of_today(before, kind), content)
    if difference:
        raise DktError(
            f"the directory holds an experiment of another configuration: {difference}",
            path=path,
            hint="choose another directory or remove this one",
        )


def _as_of_today(values: dict[str, Any], kind: str) -> dict[str, Any]:
    """A configuration that was written by an earlier dkt, with the defaults of what came since."""
    facts = {DERIVED: values.get(DERIVED, {})}
    try:
        recipe = load_recipe(kind, None, values={key: values[key] for key in values if key != DERIVED})
    except DktError:
        return values
    plain = recipe.describe()
    plain["training"].pop("tensorboard", None)
    return plain | facts


def copy_kaldi_files(source: Path, directory: Path) -> None:
    """Copy what decoding needs: the transition model and, where there are, tree and phones."""
    for name in _COPIED:
        if (source / name).exists():
            copy_file(source / name, directory / name)
        elif name == "final.mdl":
            raise DktError("does not exist", path=source / name)


def pipeline_facts(options: FeatureOptions) -> dict[str, str | int]:
    """What of a feature pipeline a configuration does not tell: matrices by their content, i-vectors."""
    matrices = {"transform": options.transform, "global_cmvn_stats": options.global_cmvn_stats}
    facts: dict[str, str | int] = {name: m.digest for name, m in matrices.items() if m is not None}
    return facts | ({"ivector_dim": options.ivector_dim} if options.ivector_dim else {})


def write_feature_files(directory: Path, options: FeatureOptions, raw_dim: int) -> None:
    """Write Kaldi's files of a feature pipeline; a step without file is not done.

    These are ``cmvn_opts``, ``online_cmvn_opts``, ``delta_opts``, ``splice_opts``, ``ivector_dim``,
    ``final.mat``, ``global_cmvn_stats.mat`` and ``final.feature_transform``. ``feature_pipeline`` is a line
    for people.

    Args:
        directory: the experiment directory.
        options: the pipeline.
        raw_dim: dimension of the features on disk.
    """
    values = {name: getattr(options, name) for name in _OPTION_FILES}
    values |= {
        name: default
        for name, default in _DEFAULTS.items()
        if values[name] is not None and not values[name].strip()
    }
    values["ivector_dim"] = str(options.ivector_dim) if options.ivector_dim else None
    values["feature_pipeline"] = options.describe()
    for name, value in values.items():
        if value is None:
            (directory / name).unlink(missing_ok=True)
        else:
            replace_file(directory / name, f"{value}\n".encode())
    for name, matrix in (
        ("final.mat", options.transform),
        ("global_cmvn_stats.mat", options.global_cmvn_stats),
    ):
        if matrix is None:
            (directory / name).unlink(missing_ok=True)
        else:
            write_matrix(directory / name, matrix.values)
    _write_feature_transform(directory / FEATURE_TRANSFORM, options, raw_dim)


def _write_feature_transform(path: Path, options: FeatureOptions, raw_dim: int) -> None:
    reason = beyond_kaldi(options)
    if reason is None:
        replace_file(path, write_nnet1(feature_transform(options, raw_dim), binary=False))
        return
    path.unlink(missing_ok=True)
    logger.info("no %s and %s: Kaldi's steps/nnet scripts cannot do %s", path.name, KALDI_MODEL, reason)


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Write a matrix file as Kaldi does."""
    writer = ObjectWriter()
    writer.matrix(matrix)
    writer.save(path)


def write_counts(directory: Path, train: Utterances, num_pdfs: int) -> None:
    """Write ``ali_train_pdf.counts``, of which the priors are made, from the training labels."""
    counts = count_pdfs((train.labels_of(utterance) for utterance in range(len(train.names))), num_pdfs)
    save_counts(directory / COUNTS, counts)
    logger.info("%d pdfs, %d of them never seen in training", num_pdfs, int(np.count_nonzero(counts < 1.0)))


def save_result(directory: Path, info: ModelInfo, network: Network) -> None:
    """Write the model of a training that has ended, under Kaldi's name too; its checkpoint goes."""
    require_lock(directory)
    save_model(directory / MODEL, info, network)
    remove_checkpoints(directory)
    _link_for_kaldi(directory)
    logger.info("model %s (fingerprint %s)", directory / MODEL, fingerprint(network))


def _link_for_kaldi(directory: Path) -> None:
    link = directory / KALDI_MODEL
    if (directory / FEATURE_TRANSFORM).exists():
        replace_link(link, MODEL)
    else:
        link.unlink(missing_ok=True)
