"""A first look at a network and what it runs on, before PyTorch is loaded and a GPU is taken."""

from __future__ import annotations

from pathlib import Path

from dkt.base.config import current_names
from dkt.base.errors import DktError
from dkt.base.files import cannot_read
from dkt.base.sealed import is_torch_file
from dkt.feat.pipeline import FEATS, FeatureOptions
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.nnet.model_header import ModelHeader, read_model_header
from dkt.nnet.nnet3.directory import network_file
from dkt.util.data_dir import DataDir
from dkt.util.kaldi_io import is_input_pipe
from dkt.util.specifiers import parse_rspecifier


def check_file(name: str) -> bool:
    """Whether an extended filename is that of a file, which must be there, rather than of a stream.

    Raises:
        DktError: there is no such file.
    """
    if name.strip() == "-" or is_input_pipe(name):
        return False
    try:
        with Path(name).open("rb"):
            return True
    except OSError as error:
        raise cannot_read(name, error) from None


def check_model(model: str) -> ModelHeader | None:
    """The header of a model of dkt, a file or its directory; None for a network of another kind.

    Raises:
        DktError: it is missing or damaged.
    """
    path = network_file(model)
    if path.suffix == ".pt":
        return read_model_header(path)
    if not check_file(str(path)):
        return None
    return read_model_header(path) if is_torch_file(path) else None


def check_source(source: str, side: SpeakerInputs, header: ModelHeader | None) -> None:
    """Make sure that features for a model can be expected of a data directory or an rspecifier.

    Raises:
        DktError: it is neither, or of a directory a file is missing that the model needs.
    """
    if Path(source).is_dir():
        side.check()
        info = {} if header is None else current_names(FeatureOptions, header.info)
        for name in ("" if header is None else info.get("paste", FEATS)).split():
            DataDir(source).file(name, "steps/make_fbank.sh or steps/make_mfcc.sh")
        return
    if ":" not in source:
        raise DktError("is neither a data directory nor an rspecifier", path=source)
    parse_rspecifier(source)
    if side != SpeakerInputs():
        raise DktError("--transform-dir and --ivectors are of data directories", path=source)
