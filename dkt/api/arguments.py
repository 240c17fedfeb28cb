"""What callers give: by name or opened, in the forms of Python; each is looked at before any work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.ranges import Range
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet import threads
from dkt.targets.top_k import TopK
from dkt.util.data_dir import DataDir

#: The name of a file or a directory.
PathName: TypeAlias = str | Path


class Opened(Protocol):
    """What was opened by its name and still knows it: a directory of Kaldi's, soft targets, a model."""

    @property
    def path(self) -> Path:
        """Where it is."""


def path_of(name: PathName, what: str) -> Path:
    """A path that was given.

    Args:
        name: the path.
        what: the argument, for errors.

    Raises:
        DktError: it is not a name, or an empty one, which would be the working directory.
    """
    if not isinstance(name, (str, Path)) or not str(name):
        raise DktError(f"'{what}' is {name!r}, expected the name of a file or directory")
    return Path(name)


def name_of(given: PathName | Opened | None, what: str) -> str | None:
    """The name of what was given, by its name or opened; None for nothing. Errors as of ``path_of``."""
    if given is None:
        return None
    name: Any = getattr(given, "path", given)
    path_of(name, what)
    # An rspecifier stays as it is.
    return str(name)


def data_dir_of(data: PathName | DataDir, what: str) -> DataDir:
    """A data directory that was given; DktError if there is none, ``what`` being the argument."""
    return data if isinstance(data, DataDir) else DataDir(path_of(data, what))


def ali_dir_of(ali: PathName | AlignmentDir | None, what: str) -> AlignmentDir | None:
    """An alignment directory that was given; errors as of ``data_dir_of``."""
    return ali if ali is None or isinstance(ali, AlignmentDir) else AlignmentDir(path_of(ali, what))


def speaker_inputs_of(transform_dir: PathName | None, ivectors: PathName | None) -> SpeakerInputs:
    """Transforms and i-vectors; DktError unless they can be expected there."""
    side = SpeakerInputs(name_of(transform_dir, "transform_dir"), name_of(ivectors, "ivectors"))
    side.check()
    return side


def number_of(given: float, allowed: Range, what: str) -> float:
    """A number; DktError if it is none, or outside of what is allowed."""
    if isinstance(given, (bool, str)) or not isinstance(given, (int, float, np.integer, np.floating)):
        raise DktError(f"'{what}' is {given!r}, expected {allowed}")
    allowed.check(float(given), what)
    return float(given)


def share_of(given: float, what: str) -> float:
    """A number from 0 to 1; errors as of ``number_of``."""
    return number_of(given, ranges.SHARE, what)


def top_k_of(given: int | str | TopK) -> TopK:
    """How many posteriors of a frame are kept, a number or ``all``; DktError if it is neither."""
    if isinstance(given, TopK):
        return given
    try:
        return TopK.parse(str(given))
    except ValueError as error:
        raise DktError(f"'top_k': {error}") from None


def temperatures_of(given: float | Iterable[float]) -> tuple[float, ...]:
    """One temperature or several; DktError if they are not numbers."""
    try:
        return tuple(map(float, given)) if isinstance(given, Iterable) else (float(given),)
    except (TypeError, ValueError):
        raise DktError(f"'temperatures' is {given!r}, expected numbers") from None


def device_of(name: str | torch.device) -> torch.device:
    """A device, cpu, cuda or cuda:N; DktError if it is none of these, or there is none."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise DktError(f"'device' is {name}, expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DktError(f"'device' is {name}, and PyTorch finds no such GPU", hint="compute on cpu")
    return device


def thread_policy_of(number: int) -> threads.Fixed:
    """A number of CPU threads; DktError if it cannot be."""
    if type(number) is not int:
        raise DktError(f"'num_threads' is {number!r}, expected {ranges.THREADS}")
    ranges.THREADS.check(number, "num_threads")
    return threads.Fixed(number)
