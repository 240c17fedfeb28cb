"""Where the data of a training were: its command stands at the head of the log that a step leaves."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from dkt.feat.speaker_inputs import SpeakerInputs

_LOG = "log/train.log"
_COMMANDS = ("train", "train-dnn", "train-lstm")
_HEAD = 1 << 16
_DEV_DATA, _DEV_ALI = 1, 3
# data-train data-dev ali-train ali-dev exp-dir; without alignments two fewer.
_NUM_ARGUMENTS = 5


@dataclass(frozen=True)
class DevData:
    """The data that a training was cross-validated on.

    Attributes:
        data: the data directory.
        ali: its alignments; None if a teacher alone labelled the data.
        side: transforms and i-vectors.
    """

    data: Path
    ali: Path | None
    side: SpeakerInputs = field(default_factory=SpeakerInputs)


def recorded_dev_data(directory: Path) -> DevData | None:
    """The dev data of a training that a step started; None where nothing tells of it.

    Relative names are taken from the working directory, or else from a directory that the experiment is in:
    who moved the whole recipe still has its data. What is told may be gone by now.
    """
    words = _command(directory / _LOG)
    if words is None:
        return None
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
    arguments = [word for word in words if not word.startswith("--")]
    if len(arguments) <= _DEV_DATA:
        return None
    has_ali = len(arguments) == _NUM_ARGUMENTS
    side = (options.get(f"{name}-dev") or None for name in ("transform-dir", "ivectors"))
    return DevData(
        _found(arguments[_DEV_DATA], directory),
        _found(arguments[_DEV_ALI], directory) if has_ali else None,
        SpeakerInputs(*(None if name is None else _found_source(name, directory) for name in side)),
    )


def _command(path: Path) -> list[str] | None:
    """The words behind ``dkt train...`` at the head of a log."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).decode("utf-8", errors="replace")
    except OSError:
        return None
    for line in head.splitlines():
        if not line.startswith("#"):
            continue
        try:
            words = shlex.split(line[1:])
        except ValueError:
            continue
        for place, (program, command) in enumerate(pairwise(words)):
            if Path(program).name == "dkt" and command in _COMMANDS:
                rest = words[place + 2 :]
                ends = [rest.index(mark) for mark in ("&&", "||", ";", "|") if mark in rest]
                return rest[: min(ends, default=len(rest))]
    return None


def _found(name: str, directory: Path) -> Path:
    path = Path(name)
    if path.is_absolute() or path.exists():
        return path
    places = (parent / path for parent in directory.absolute().parents)
    return next((place for place in places if place.exists()), path)


def _found_source(name: str, directory: Path) -> str:
    """As ``_found``, of what may also be an rspecifier."""
    return name if ":" in name else str(_found(name, directory))
