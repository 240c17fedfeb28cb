"""The formats that a trained model can leave in, and how a directory of one comes about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import partial_directory
from dkt.export.nnet1 import export_nnet1
from dkt.export.nnet3 import export_nnet3
from dkt.export.parity import Parity, ParityData
from dkt.export.trained import TrainedModel
from dkt.export.vosk import VoskOptions, export_vosk

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportOptions:
    """What the formats differ in.

    Attributes:
        binary: Kaldi's binary form, else its text form.
        vosk: what vosk needs beside the network.
    """

    binary: bool = True
    vosk: VoskOptions | None = None


def _onnx(model: TrainedModel, out: Path, data: ParityData, options: ExportOptions) -> Parity:
    # Not above: a package of its own, which the other formats do without.
    from dkt.export.onnx_dir import export_onnx

    return export_onnx(model, out, data)


def _vosk(model: TrainedModel, out: Path, data: ParityData, options: ExportOptions) -> Parity:
    if options.vosk is None:
        raise DktError("vosk needs a graph and the configuration of the features")
    return export_vosk(model, out, data, options.vosk)


#: By name: what writes an empty directory and compares it with the network.
FORMATS: dict[str, Callable[[TrainedModel, Path, ParityData, ExportOptions], Parity]] = {
    "nnet1": lambda model, out, data, options: export_nnet1(model, out, data, options.binary),
    "nnet3": lambda model, out, data, options: export_nnet3(model, out, data, options.binary),
    "onnx": _onnx,
    "vosk": _vosk,
}


def export_model(
    model: TrainedModel, form: str, out: Path, data: ParityData, options: ExportOptions
) -> Parity:
    """Write a model in a format; the directory gets its name when it has been compared with the network.

    Args:
        model: what to export.
        form: of ``FORMATS``.
        out: the directory; it must not exist, or be empty.
        data: utterances to compare on.
        options: those of the format.

    Raises:
        DktError: the format cannot express the model, what was written computes something else, or ``out`` is
            there; nothing is left then.
    """
    check_new(out)
    with partial_directory(out) as partial:
        parity = FORMATS[form](model, partial, data, options)
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
    logger.info("%s", parity.describe())
    return parity


def check_new(out: Path) -> None:
    """Make the directory that ``out`` is to be in.

    Raises:
        DktError: ``out`` is there, and is not an empty directory.
    """
    if out.is_dir() and any(out.iterdir()):
        raise DktError("holds something already", path=out, hint="remove it, or give another name")
    if out.exists() and not out.is_dir():
        raise DktError("is a file, expected the name of a new directory", path=out)
    out.parent.mkdir(parents=True, exist_ok=True)
