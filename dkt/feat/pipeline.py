"""What is done to features before a model sees them, in the words of Kaldi's option files."""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from dkt.base.errors import DktError
from dkt.base.ranges import check_name, kaldi_number
from dkt.feat.online_cmvn import OnlineCmvnOptions
from dkt.util.object_io import ObjectReader
from dkt.util.option_text import boolean, split_option
from dkt.util.text import describe_character, hidden_character, natural, read_lines, refused_character

logger = logging.getLogger(__name__)

FEATS = "feats.scp"
# Options of every program of Kaldi's that say nothing about features.
_STANDARD = ("--verbose", "--print-args")
_PLAIN = re.compile(r"[\w./:,@%+=~-]*")


class _OptionParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DktError(message)


def _number(name: str, text: str) -> int:
    try:
        return int(kaldi_number(name, text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _dims(name: str, text: str) -> tuple[int, ...]:
    return tuple(_number(name, word) for word in text.split(":")) if text else ()


#: Of the name of an option and its text.
_CONVERTERS: dict[type, Callable[[str, str], Any]] = {
    int: _number,
    tuple: _dims,
    str: lambda name, text: text,
}


def parse_options(options: str, source: str | Path, **defaults: Any) -> argparse.Namespace:
    """Read ``--name=value`` options as Kaldi's programs do, their standard options included.

    Args:
        options: the line of an option file.
        source: where it comes from, for errors.
        defaults: the options there are; the type of a default (bool, int, str or tuple of dimensions) is
            that of its option.

    Raises:
        DktError: an unknown option, a value of another type, or a number outside ``dkt.base.ranges.KALDI``.
    """
    char = refused_character(options) or hidden_character(options)
    if char is not None:
        raise DktError(f"'{options}' holds {describe_character(char)}", path=source, hint="remove it")
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    for name, default in defaults.items():
        plain = name.replace("_", "-")
        option = f"--{plain}"
        if isinstance(default, bool):
            parser.add_argument(option, type=boolean, nargs="?", const=True, default=default)
        else:
            convert = partial(_CONVERTERS[type(default)], plain)
            parser.add_argument(option, type=convert, default=default)
    for option in _STANDARD:
        parser.add_argument(option, nargs="?", help=argparse.SUPPRESS)
    try:
        return parser.parse_args(list(map(_spelt, options.split())))
    except DktError as error:
        raise DktError(f"'{options}': {error}", path=source) from None


def _spelt(word: str) -> str:
    """An option in its plain spelling."""
    try:
        name, value = split_option(word)
    except ValueError as error:
        raise DktError(str(error)) from None
    if name == "config":
        # A model would depend on a file that may change.
        raise DktError("--config is not followed in such a line", hint="write the options of that file out")
    return f"--{name}" if value is None else f"--{name}={value}"


@dataclass(frozen=True)
class MatrixFile:
    """A matrix of a file; two are equal if their values are.

    Attributes:
        path: where it was read, for the log.
        values: shape ``(rows, columns)``.
    """

    path: str = field(compare=False)
    values: np.ndarray = field(compare=False, repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        content = str(self.values.shape).encode() + np.ascontiguousarray(self.values, np.float64).tobytes()
        object.__setattr__(self, "digest", hashlib.sha256(content).hexdigest()[:16])

    @classmethod
    def read(cls, path: str | Path) -> MatrixFile:
        """Read a file of Kaldi's, binary or text.

        Raises:
            DktError: it holds no matrix.
        """
        return cls(str(path), ObjectReader.open(path).matrix())


@dataclass(frozen=True)
class FeatureOptions:
    """What is done to the features of a data directory, in this order.

    Attributes:
        paste: the script files of the data directory whose features are pasted; white space between them.
        cmvn_opts: options of ``apply-cmvn``; empty means its defaults (means, per speaker), None no CMVN.
        online_cmvn_opts: options of ``apply-cmvn-online``; None means none of it.
        global_cmvn_stats: the statistics that online CMVN begins with.
        delta_opts: options of ``add-deltas``; None means no deltas.
        splice_opts: options of ``splice-feats``; None means no splicing.
        transform: a matrix (``final.mat``: LDA, MLLT); None means no transform.
        speaker_transforms: whether a transform of each speaker follows (``trans.JOB``: fMLLR).
        ivector_dim: dimension of the i-vectors that are appended; 0 for none.

    Raises:
        DktError: options that exclude each other.
    """

    #: Earlier names of these options in model files and configurations.
    RENAMED: ClassVar[dict[str, str]] = {"streams": "paste"}

    cmvn_opts: str | None = None
    delta_opts: str | None = None
    splice_opts: str | None = None
    transform: MatrixFile | None = None
    online_cmvn_opts: str | None = None
    global_cmvn_stats: MatrixFile | None = None
    paste: str = FEATS
    speaker_transforms: bool = False
    ivector_dim: int = 0

    def __post_init__(self) -> None:
        if self.cmvn_opts is not None and self.online_cmvn_opts is not None:
            raise DktError(
                "cmvn_opts and online_cmvn_opts exclude each other", hint="set one of them to null"
            )
        if not self.paste.split():
            raise DktError(f"'paste' names no features, expected one script file or more, such as {FEATS}")
        for name in self.paste.split():
            # A model of somebody else, or a configuration, must not run what it likes.
            check_name(name, "paste")

    def check(self, place: Callable[[str], str]) -> None:
        """Raise DktError if an option line is wrong; ``place`` turns its name into that for the error."""
        self.parse_cmvn(place("cmvn_opts"))
        self._online(place("online_cmvn_opts"))
        self.parse_deltas(place("delta_opts"))
        self.parse_splice(place("splice_opts"))

    @classmethod
    def of_gmm_dir(cls, directory: str | Path) -> FeatureOptions:
        """The options of a GMM or alignment directory.

        A missing or empty ``cmvn_opts`` is Kaldi's default CMVN. Without ``final.mat`` deltas of order 2
        follow, with it splicing and the transform.
        """
        directory = Path(directory)
        cmvn = read_option_file(directory / "cmvn_opts") or ""
        if (directory / "final.mat").exists():
            spliced = read_option_file(directory / "splice_opts") or ""
            return cls(cmvn, None, spliced, MatrixFile.read(directory / "final.mat"))
        return cls(cmvn, read_option_file(directory / "delta_opts") or "")

    @classmethod
    def of_nnet_dir(cls, directory: str | Path) -> FeatureOptions:
        """The options of a directory of Kaldi's ``steps/nnet/train.sh``: what has no file is not done."""
        directory = Path(directory)
        online = read_option_file(directory / "online_cmvn_opts")
        dim = read_option_file(directory / "ivector_dim") or "0"
        ivector_dim = natural(dim)
        if ivector_dim is None:
            raise DktError(f"expected a number, found '{dim}'", path=directory / "ivector_dim")
        return cls(
            cmvn_opts=read_option_file(directory / "cmvn_opts"),
            delta_opts=read_option_file(directory / "delta_opts"),
            online_cmvn_opts=online,
            global_cmvn_stats=None
            if online is None
            else MatrixFile.read(directory / "global_cmvn_stats.mat"),
            ivector_dim=ivector_dim,
        )

    def describe(self) -> str:
        """One line for the log and for ``feature_pipeline`` in a model directory."""
        names = {
            "apply-cmvn": self.cmvn_opts,
            "apply-cmvn-online": self.online_cmvn_opts,
            "add-deltas": self.delta_opts,
            "splice-feats": self.splice_opts,
        }
        steps = [] if self.paste.split() == [FEATS] else [f"paste-feats {self.paste}"]
        steps += [f"{name} {opts}".strip() for name, opts in names.items() if opts is not None]
        if self.transform:
            steps.append(f"transform-feats {self.transform.path} {_size(self.transform)}")
        if self.speaker_transforms:
            steps.append("transform-feats of each speaker (fMLLR)")
        if self.ivector_dim:
            steps.append(f"{self.ivector_dim}-dimensional i-vectors appended")
        return " | ".join(steps) or "none"

    def replace(self, **changes: Any) -> FeatureOptions:
        """A copy with some of the options changed."""
        return replace(self, **changes)

    def parse_cmvn(self, source: str | Path) -> argparse.Namespace | None:
        """``norm_means``, ``norm_vars`` and ``skip_dims``; None where there is nothing to normalise."""
        if self.cmvn_opts is None:
            return None
        parsed = parse_options(self.cmvn_opts, source, norm_means=True, norm_vars=False, skip_dims=())
        if parsed.norm_vars and not parsed.norm_means:
            raise DktError(f"'{self.cmvn_opts}' asks for variance without mean normalisation", path=source)
        return parsed if parsed.norm_means else None

    def parse_online_cmvn(self, source: str | Path) -> tuple[OnlineCmvnOptions, bool] | None:
        """The options of online CMVN, and whether it goes on from utterance to utterance (``--spk2utt``)."""
        if self.online_cmvn_opts is not None and self.global_cmvn_stats is None:
            raise DktError("online CMVN needs global statistics: global_cmvn_stats.mat", path=source)
        return self._online(source)

    def _online(self, source: str | Path) -> tuple[OnlineCmvnOptions, bool] | None:
        if self.online_cmvn_opts is None:
            return None
        known = OnlineCmvnOptions.__dataclass_fields__
        defaults: dict[str, Any] = {name: known[name].default for name in known}
        parsed = parse_options(self.online_cmvn_opts, source, spk2utt="", **defaults)
        try:
            options = OnlineCmvnOptions(**{name: getattr(parsed, name) for name in known})
        except DktError as error:
            raise DktError(str(error), path=source) from None
        # The line becomes a file of the experiment, which Kaldi's scripts hand to a shell.
        if not _PLAIN.fullmatch(parsed.spk2utt):
            raise DktError(f"--spk2utt is '{parsed.spk2utt}', expected a plain name of a table", path=source)
        return options, bool(parsed.spk2utt)

    def parse_deltas(self, source: str | Path) -> argparse.Namespace | None:
        """``delta_order`` and ``delta_window``."""
        if self.delta_opts is None:
            return None
        return parse_options(self.delta_opts, source, delta_order=2, delta_window=2)

    def parse_splice(self, source: str | Path) -> argparse.Namespace | None:
        """``left_context`` and ``right_context``."""
        if self.splice_opts is None:
            return None
        return parse_options(self.splice_opts, source, left_context=4, right_context=4)


def _size(matrix: MatrixFile) -> str:
    return f"({' x '.join(map(str, matrix.values.shape))})"


def read_option_file(path: Path) -> str | None:
    """The options of a file; None where there is no file."""
    return " ".join(read_lines(path)).strip() if path.exists() else None


def sum_stats(stats: Sequence[np.ndarray], source: str) -> MatrixFile:
    """Global CMVN statistics as the sum of those of the speakers, as Kaldi's ``steps/nnet/train.sh``.

    Args:
        stats: each of shape ``(2, F + 1)``.
        source: where they come from.

    Raises:
        DktError: they are of different dimensions.
    """
    if len({part.shape for part in stats}) != 1:
        raise DktError("the CMVN statistics of the speakers are missing or differ in dimension", path=source)
    return MatrixFile(f"the sum of {source}", np.sum(stats, axis=0))
