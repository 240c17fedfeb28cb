"""Networks that Kaldi's nnet3 trained: read, written again, and shown to compute what they did.

dkt runs them as they are, as teachers and for decoding; it trains none of them on.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.files import copy_file, replace_file
from dkt.export.formats import new_directory
from dkt.export.parity import Parity, ParityData, drawn_frames
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.nnet3.directory import Nnet3Options, is_nnet3_file, network_file
from dkt.nnet.nnet3.model import encode_nnet3_model, read_nnet3_model
from dkt.nnet.nnet3.scorer import Nnet3Scorer

logger = logging.getLogger(__name__)

# Of an experiment directory of nnet3, where there are.
_BESIDE = ("tree", "phones.txt", "cmvn_opts", "online_cmvn", "global_cmvn.stats", "frame_subsampling_factor")


def is_nnet3_model(source: str | Path) -> bool:
    """Whether a directory holds a network of nnet3 and none of dkt's, or a file is one."""
    return is_nnet3_file(network_file(source))


def rewrite_nnet3(
    source: Path, out: Path, data: ParityData | None, output: str = "output", binary: bool = True
) -> Parity:
    """Write a directory with the network of another one.

    Args:
        source: a directory with ``final.mdl`` or ``final.raw``, or such a file.
        out: the directory; it must not exist, or be empty.
        data: utterances to compare the outputs on; None for random frames.
        output: the output-node that is compared.
        binary: Kaldi's binary form, else its text form.

    Raises:
        DktError: there is no network of nnet3, dkt cannot run it, or the written one computes something else;
            nothing is left then.
    """
    path = network_file(source)
    if not is_nnet3_file(path):
        hint = "give a directory of nnet3, with final.mdl or final.raw"
        raise DktError("holds no network of nnet3", path=source, hint=hint)
    model = read_nnet3_model(path)
    name = "final.raw" if model.transition_model is None else "final.mdl"
    with new_directory(out) as partial:
        replace_file(partial / name, encode_nnet3_model(model, binary))
        for other in _BESIDE:
            if (path.parent / other).is_file():
                copy_file(path.parent / other, partial / other)
        parity = _compared(path, partial / name, data, output)
    logger.info("%s", parity.describe())
    return parity


def _compared(source: Path, written: Path, data: ParityData | None, output: str) -> Parity:
    """The outputs of two files, compared: log-posteriors, or what a chain model gives."""
    factor = Nnet3Options().factor_of(source)
    before, after = (Nnet3Scorer(path, True, False, output, factor) for path in (source, written))
    parity = Parity(written.name)
    pipeline = before.pipeline or FeatureOptions()
    for utt, frames in drawn_frames(before.input_dim) if data is None else data.features(pipeline):
        if frames.shape[1] != before.input_dim:
            raise DktError(
                f"features of dimension {frames.shape[1]}, the network takes {before.input_dim}",
                path=None if data is None else data.data,
                hint="give --data of the features that it was trained on",
            )
        expected, found = before(frames).numpy(), after(frames).numpy()
        # Outputs of a chain model may be anywhere: what counts is how far they are from each other.
        largest = expected.max(axis=1, keepdims=True)
        parity.compare(utt, expected - largest, np.asarray(found) - largest)
    return parity
