"""Networks that Kaldi's nnet1 trained, as model directories of dkt: to teach, to run, to train on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml

from dkt.base.errors import DktError
from dkt.base.files import copy_file, replace_file
from dkt.export.formats import new_directory
from dkt.export.parity import Parity, ParityData, drawn_frames
from dkt.export.trained import TrainedModel
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.model_file import ModelInfo, save_model
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet1.propagate import log_softmax, propagate
from dkt.nnet.nnet1.to_dkt import dkt_network_of
from dkt.train.experiment import COUNTS, FEATURE_TRANSFORM, KALDI_MODEL, MODEL, copy_kaldi_files

logger = logging.getLogger(__name__)

#: What a training of the imported network begins from: ``dkt train --config``.
TRAINING_CONFIG = "training.yaml"
_OPTIONAL = (COUNTS, "cmvn_opts", "delta_opts", "online_cmvn_opts", "global_cmvn_stats.mat", "ivector_dim")


def import_nnet1(source: Path, out: Path, data: ParityData | None, as_it_is: bool = False) -> Parity:
    """Make a model directory of one of ``steps/nnet/train.sh``.

    Args:
        source: with ``final.nnet``, ``final.feature_transform`` and ``final.mdl``.
        out: the directory; it must not exist, or be empty.
        data: utterances to compare the outputs on; None for random frames.
        as_it_is: keep the components of nnet1 where dkt has a kind of its own, see
            ``dkt.nnet.nnet1.to_dkt.dkt_network_of``.

    Raises:
        DktError: a file is missing or damaged, or the outputs differ from those of the files; nothing is left
            then.
    """
    if not (source / KALDI_MODEL).is_file():
        raise DktError(f"holds no {KALDI_MODEL}", path=source, hint="give a directory of steps/nnet/train.sh")
    transform_file = source / FEATURE_TRANSFORM
    transform = read_nnet1(transform_file) if transform_file.is_file() else []
    components = read_nnet1(source / KALDI_MODEL)
    options = FeatureOptions.of_nnet_dir(source)
    try:
        info, network = dkt_network_of(transform, components, options, as_it_is)
    except DktError as error:
        raise DktError(str(error), path=source / KALDI_MODEL) from None
    model = TrainedModel(source, info, network)
    # Both are of as many pdfs, or refused.
    _ = model.transition_model, model.counts if (source / COUNTS).is_file() else None
    with new_directory(out) as partial:
        save_model(partial / MODEL, info, network)
        _copy_files(source, partial, info)
        parity = Parity(KALDI_MODEL)
        if data is not None:
            data.raw_dim(info)
        for utt, frames in drawn_frames(info.feature_dim) if data is None else data.features(options):
            written = log_softmax(propagate(components[:-1], propagate(transform, frames)))
            parity.compare(utt, model.log_posteriors(frames), written)
    logger.info("%s", parity.describe())
    logger.info("to train on: dkt train --config=%s/%s --init-model=%s/%s", out, TRAINING_CONFIG, out, MODEL)
    return parity


def _copy_files(source: Path, out: Path, info: ModelInfo) -> None:
    copy_kaldi_files(source, out)
    copy_file(source / KALDI_MODEL, out / KALDI_MODEL)
    for name in (FEATURE_TRANSFORM, *_OPTIONAL):
        if (source / name).is_file():
            copy_file(source / name, out / name)
    features: dict[str, Any] = {"cmvn_opts": info.cmvn_opts, "delta_opts": info.delta_opts}
    features |= {"online_cmvn_opts": info.online_cmvn_opts}
    if info.left_context == info.right_context and info.left_context:
        features["splice"] = info.left_context
    content = {"features": features, "network": {"type": info.kind} | info.network}
    replace_file(out / TRAINING_CONFIG, yaml.safe_dump(content, sort_keys=False).encode())
