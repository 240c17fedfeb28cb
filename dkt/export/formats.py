"""The formats that a trained model can leave in, and how a directory of one comes about."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import cannot_write, partial_directory
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
    with new_directory(out) as partial:
        try:
            parity = FORMATS[form](model, partial, data, options)
        except DktError as error:
            if error.path is not None:
                raise
            raise DktError(str(error), path=model.directory, hint=_other_way(model, form)) from None
    logger.info("%s", parity.describe())
    return parity


def _other_way(model: TrainedModel, form: str) -> str | None:
    if model.info.kind != "nnet1" or form == "nnet1":
        return None
    return "it has the components of Kaldi's nnet1: export it as that, or import it without --as-it-is"


@contextlib.contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """An empty directory that gets the name ``out`` once it is filled; else nothing is left of it.

    Through a symbolic link the directory is made where it points to.

    Raises:
        DktError: ``out`` is there, and is not an empty directory, or the system does not let it be written.
    """
    _check_new(out)
    place = Path(os.path.realpath(out))
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with partial_directory(place) as partial:
            yield partial
            try:
                # In place of an empty directory, too; not of one that another process has filled by now.
                partial.rename(place)
            except OSError as error:
                raise cannot_write(out, error) from None
    except BaseException:
        with contextlib.suppress(OSError):
            for parent in missing:
                parent.rmdir()
        raise


def _check_new(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise DktError("holds something already", path=out, hint="remove it, or give another name")
    if out.exists() and not out.is_dir():
        raise DktError("is a file, expected the name of a new directory", path=out)
    if os.path.realpath(out) == os.path.realpath("."):
        # It would be replaced under the feet of the shell.
        raise DktError("is the current directory, expected the name of a new one", path=out)
