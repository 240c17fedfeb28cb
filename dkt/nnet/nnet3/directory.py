"""Experiment directories of Kaldi's nnet3 scripts: the network, and what its features and outputs are.

Source: ``steps/nnet3/decode.sh``.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions, MatrixFile, read_option_file

_BEGINNINGS = (b"\0B<Nnet3> ", b"<Nnet3> ", b"\0B<TransitionModel> ", b"<TransitionModel> ")
_FACTOR = "frame_subsampling_factor"


@dataclass(frozen=True)
class Nnet3Options:
    """How a network of nnet3 is run; networks of other kinds have nothing of it.

    Attributes:
        output: the name of the output-node, for example ``output-xent``.
        frame_subsampling_factor: every how many frames it is computed; None for what the directory's file
            ``frame_subsampling_factor`` says, and 1 without it.
    """

    output: str = "output"
    frame_subsampling_factor: int | None = None

    def refuse(self, model: str | Path) -> None:
        """Raise DktError if anything was asked for, as ``model`` is not of nnet3."""
        if self != Nnet3Options():
            raise DktError(
                "is no network of nnet3, and --nnet3-output and --frame-subsampling-factor are of those",
                path=model,
                hint="leave them out, or give final.mdl or final.raw of an nnet3 directory",
            )

    def factor_of(self, path: str | Path) -> int:
        """The factor of the network in a file.

        Raises:
            DktError: the directory's file holds no number from 1 on.
        """
        if self.frame_subsampling_factor is not None:
            return self.frame_subsampling_factor
        file = Path(path).parent / _FACTOR
        text = read_option_file(file)
        if text is None:
            return 1
        if not (text.isascii() and text.isdigit() and int(text) >= 1):
            raise DktError(f"expected a number from 1 on, found '{text[:20]}'", path=file)
        return int(text)


def is_nnet3_file(path: str | Path) -> bool:
    """Whether a file begins as a network of nnet3 or a ``final.mdl`` does."""
    path = Path(path)
    # Of a pipe what is read is gone.
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(32).startswith(_BEGINNINGS)
    except OSError:
        return False


def network_file(model: str | Path) -> Path:
    """The network of an experiment directory of dkt or of nnet3, or the file itself.

    A directory of dkt has a ``final.mdl`` too: its ``final.pt`` comes first, and a directory of nnet1, with a
    ``final.nnet``, is none of nnet3.
    """
    path = Path(model)
    if not path.is_dir():
        return path
    if not any((path / name).exists() for name in ("final.pt", "final.nnet")):
        for name in ("final.mdl", "final.raw"):
            if has_nnet3_network(path / name):
                return path / name
    return path / "final.pt"


def has_nnet3_network(path: Path) -> bool:
    """Whether a file holds a network of nnet3: a ``final.mdl`` may be that of a GMM."""
    if not is_nnet3_file(path):
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"<Nnet3>") >= 0


def nnet3_features(path: str | Path, ivector_dim: int) -> FeatureOptions:
    """The feature pipeline of the network in a file, from the directory that it is in.

    Without ``cmvn_opts`` there is no CMVN. With a file ``online_cmvn`` it is online CMVN that goes on from
    utterance to utterance of a speaker and begins with ``global_cmvn.stats``.

    Args:
        path: the network.
        ivector_dim: the dimension of the i-vectors that it takes, 0 for none.

    Raises:
        DktError: a file is damaged, or the statistics of online CMVN are missing.
    """
    directory = Path(path).parent
    cmvn = read_option_file(directory / "cmvn_opts")
    if not (directory / "online_cmvn").exists():
        return FeatureOptions(cmvn_opts=cmvn, ivector_dim=ivector_dim)
    if cmvn is None:
        cmvn = "--norm-means=false --norm-vars=false"
    return FeatureOptions(
        online_cmvn_opts=f"{cmvn} --spk2utt=ark:spk2utt".strip(),
        global_cmvn_stats=MatrixFile.read(directory / "global_cmvn.stats"),
        ivector_dim=ivector_dim,
    )
