"""Directories of ONNX: ``model.onnx``, and what a server needs beside it to search a graph."""

from __future__ import annotations

from pathlib import Path

from dkt.base.files import copy_file, replace_file
from dkt.export.onnx import onnx_of
from dkt.export.onnx_features import options_before_onnx
from dkt.export.onnx_session import onnx_log_posteriors
from dkt.export.parity import Parity, ParityData
from dkt.export.trained import TrainedModel

ONNX_MODEL = "model.onnx"


def export_onnx(model: TrainedModel, out: Path, data: ParityData) -> Parity:
    """Write ``model.onnx``, ``final.mdl``, ``tree`` and ``phones.txt``, and compare outputs in onnxruntime.

    Args:
        model: what to export.
        out: an empty directory.
        data: utterances to compare on.

    Raises:
        DktError: there is no form of the model in ONNX, or the written file does not compute the same.
    """
    options = model.info.feature_options
    made = onnx_of(model.info, model.network, model.counts, data.raw_dim(model.info))
    replace_file(out / ONNX_MODEL, made.SerializeToString())
    for name in ("final.mdl", "tree", "phones.txt"):
        copy_file(model.file(name), out / name)
    parity = Parity(ONNX_MODEL)
    for utt, part, whole in data.pairs(options, options_before_onnx(options)):
        parity.compare(utt, model.log_posteriors(whole), onnx_log_posteriors(out / ONNX_MODEL, part))
    return parity
