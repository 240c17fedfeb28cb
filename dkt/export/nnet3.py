"""Directories of nnet3: ``final.mdl`` for ``nnet3-latgen-faster`` and online decoding, and ``final.raw``.

CMVN is left to Kaldi's scripts (``cmvn_opts``); deltas, splicing and transforms are in the network. What
nnet3 does otherwise at the ends of utterances is told in ``dkt.nnet.nnet3.from_dkt``; the network is compared
with dkt's own run in that way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.files import copy_file, replace_file
from dkt.export.parity import Parity, ParityData
from dkt.export.trained import TrainedModel
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.nnet3.decodable import Nnet3Computer
from dkt.nnet.nnet3.from_dkt import log_posteriors_as_nnet3, nnet3_model_of
from dkt.nnet.nnet3.model import Nnet3Model, encode_nnet3_model, read_nnet3_model
from dkt.train.experiment import write_matrix

# What apply-cmvn does where it is given nothing.
_CMVN_DEFAULT = "--norm-means=true"


def export_nnet3(model: TrainedModel, out: Path, data: ParityData, binary: bool) -> Parity:
    """Write the directory and compare what was written with the network.

    Args:
        model: what to export.
        out: an empty directory.
        data: utterances to compare on.
        binary: Kaldi's binary form, else its text form.

    Raises:
        DktError: nnet3 cannot express the model, or the written file does not compute the same.
    """
    whole = whole_nnet3(model, data.raw_dim(model.info))
    replace_file(out / "final.mdl", encode_nnet3_model(whole, binary))
    replace_file(out / "final.raw", encode_nnet3_model(Nnet3Model(whole.network), binary))
    for name in ("tree", "phones.txt"):
        copy_file(model.file(name), out / name)
    _write_cmvn(out, model.info.feature_options)
    return compare_nnet3(model, out / "final.mdl", data)


def whole_nnet3(model: TrainedModel, raw_dim: int) -> Nnet3Model:
    """Network, transition model and priors of a trained model; ``raw_dim`` is that of features on disk."""
    return nnet3_model_of(model.info, model.network, model.transition_model, model.counts, raw_dim)


def outside(options: FeatureOptions) -> FeatureOptions:
    """What of a feature pipeline stays outside a network of nnet3: CMVN and i-vectors."""
    return options.replace(delta_opts=None, splice_opts=None, transform=None)


def _write_cmvn(out: Path, options: FeatureOptions) -> None:
    """The files by which ``steps/nnet3/decode.sh`` does CMVN; without any it does none."""
    lines = options.cmvn_opts
    if options.global_cmvn_stats is not None:
        lines = options.online_cmvn_opts
        replace_file(out / "online_cmvn", b"")
        write_matrix(out / "global_cmvn.stats", options.global_cmvn_stats.values)
    if lines is not None:
        replace_file(out / "cmvn_opts", f"{lines.strip() or _CMVN_DEFAULT}\n".encode())


def compare_nnet3(model: TrainedModel, path: Path, data: ParityData) -> Parity:
    """Evaluate a ``final.mdl`` on the utterances of a data directory.

    The i-vector of an utterance is that of its first frame.

    Raises:
        DktError: a log-posterior differs, or the priors do.
    """
    written = read_nnet3_model(path)
    _check_priors(written, model, path.name)
    computer = Nnet3Computer(written.network)
    parity = Parity(path.name)
    for utt, frames in data.features(outside(model.info.feature_options)):
        dim = computer.input_dim
        features, ivector = frames[:, :dim], frames[0, dim:] if model.info.ivector_dim else None
        expected = log_posteriors_as_nnet3(model.info, model.network, features, ivector)
        parity.compare(utt, expected, computer(features, None, ivector))
    return parity


def _check_priors(written: Nnet3Model, model: TrainedModel, name: str) -> None:
    seen = model.counts >= 1.0
    expected = model.counts[seen] / model.counts.sum()
    if written.priors is None or not np.allclose(written.priors[seen], expected, rtol=1e-5, atol=0):
        raise DktError(f"the priors of {name} are not those of the counts: it was not written")
