"""Directories of nnet1, on which Kaldi's own ``steps/nnet/{decode,align}.sh`` run without any program of dkt.

Those scripts do CMVN, deltas and i-vectors by the option files of the directory; splicing, transforms, the
delay and the normalisation of the input are in ``final.feature_transform``. T frames, F features, P pdfs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.files import copy_file, replace_file
from dkt.export.parity import Parity, ParityData
from dkt.export.trained import TrainedModel
from dkt.hmm.counts import load_counts
from dkt.hmm.transition_model import load_transition_model
from dkt.nnet.model_file import ModelInfo
from dkt.nnet.network import Network
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet1.from_dkt import nnet1_of
from dkt.nnet.nnet1.propagate import log_softmax, propagate
from dkt.nnet.nnet1.writer import write_nnet1
from dkt.nnet.pipeline_window import pipeline_window
from dkt.train.experiment import COUNTS, FEATURE_TRANSFORM, KALDI_MODEL, write_feature_files

#: Counts that ``decode.sh`` prefers (``steps/nnet/make_priors.sh``).
_PRIORS = "prior_counts"
_COPIED = ("final.mdl", "tree", "phones.txt", COUNTS)


def export_nnet1(model: TrainedModel, out: Path, data: ParityData, binary: bool) -> Parity:
    """Write the directory and compare what was written with the network.

    Args:
        model: what to export.
        out: an empty directory.
        data: utterances to compare on.
        binary: Kaldi's binary form, else its text form.

    Raises:
        DktError: nnet1 cannot express the model, or the written files do not compute the same.
    """
    options = model.info.feature_options
    raw_dim = data.raw_dim(model.info)
    write_nnet1_dir(model.directory, model.info, model.network, out, binary, raw_dim)
    parity = Parity(KALDI_MODEL)
    for utt, part, whole in data.pairs(options, options.replace(splice_opts=None, transform=None)):
        parity.compare(utt, model.log_posteriors(whole), nnet1_log_posteriors(out, part))
    return parity


def write_nnet1_dir(
    source: Path, info: ModelInfo, network: Network, out: Path, binary: bool, raw_dim: int | None = None
) -> None:
    """Write what Kaldi's scripts of nnet1 ask for.

    These are ``final.nnet`` with its softmax, ``final.feature_transform``, ``final.mdl``, ``tree``,
    ``phones.txt``, ``ali_train_pdf.counts``, ``prior_counts`` if there are, and, of the feature pipeline,
    ``cmvn_opts``, ``online_cmvn_opts``, ``global_cmvn_stats.mat``, ``delta_opts`` and ``ivector_dim``.
    ``feature_pipeline`` is a line for people. With online CMVN ``decode.sh`` and ``align.sh`` need
    ``export srcdata=data/test``, a variable that they never set.

    Args:
        source: the directory of the model, with the files that are copied.
        info: of the model.
        network: the model.
        out: an empty directory.
        binary: Kaldi's binary form of both networks, else its text form.
        raw_dim: as ``nnet1_of`` takes it.

    Raises:
        DktError: nnet1 cannot express the model, or a file of the source is missing or of another number of
            pdfs.
    """
    transform, layers = nnet1_of(info, network, raw_dim)
    _check_source(source, info.num_pdfs)
    for name in _COPIED:
        copy_file(source / name, out / name)
    if (source / _PRIORS).exists():
        copy_file(source / _PRIORS, out / _PRIORS)
    outside = info.feature_options.replace(splice_opts=None, transform=None)
    write_feature_files(out, outside, pipeline_window(info, raw_dim).raw_dim)
    # What is inside it now are the splicing and the transform of the pipeline, too.
    replace_file(out / FEATURE_TRANSFORM, write_nnet1(transform, binary))
    replace_file(out / KALDI_MODEL, write_nnet1(layers, binary))


def _check_source(source: Path, num_pdfs: int) -> None:
    for name in _COPIED:
        if not (source / name).is_file():
            hint = "give the directory as its training left it"
            raise DktError("does not exist: Kaldi's scripts need it", path=source / name, hint=hint)
    found = {"final.mdl": load_transition_model(source / "final.mdl").num_pdfs}
    found |= {name: len(load_counts(source / name)) for name in (COUNTS, _PRIORS) if (source / name).exists()}
    for name, number in found.items():
        if number != num_pdfs:
            raise DktError(f"is of {number} pdfs, the network has {num_pdfs}", path=source / name)


def nnet1_log_posteriors(directory: Path, features: np.ndarray) -> np.ndarray:
    """What a directory of nnet1 computes, evaluated without PyTorch, in double precision.

    Args:
        directory: with ``final.feature_transform`` and ``final.nnet``, which ends with a softmax.
        features: of one utterance, after CMVN, deltas and i-vectors, shape ``(T, F)``.

    Returns:
        Log-posteriors, float64 of shape ``(T, P)``.

    Raises:
        DktError: a file is missing or damaged, or features of another dimension.
    """
    path = directory / KALDI_MODEL
    transform, network = read_nnet1(directory / FEATURE_TRANSFORM), read_nnet1(path)
    if len(network) < 2 or network[-1].marker != "<Softmax>":
        raise DktError("does not end with a layer and its <Softmax>", path=path)
    if transform and transform[-1].output_dim != network[0].input_dim:
        outputs = f"{FEATURE_TRANSFORM} beside it {transform[-1].output_dim} outputs"
        raise DktError(f"has {network[0].input_dim} inputs, {outputs}", path=path)
    return log_softmax(propagate(network[:-1], propagate(transform, features)))
