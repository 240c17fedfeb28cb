"""What a set of soft targets is made of, and the file that says so; nothing here needs PyTorch."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.base.files import is_there, read_file, replace_file
from dkt.base.ranges import TEMPERATURE
from dkt.base.yaml_text import RefusedYamlError, parse_yaml

#: What to do about soft targets that are of no use.
AGAIN = "make them again with steps/make_soft_targets.sh"

_INT16_PDFS = 1 << 16
# As far as a temperature that was written with five digits or more may be from the one that is meant.
_ROUNDING = 1.0e-4
#: Of speech, at 100 frames a second.
FRAMES_PER_HOUR = 360_000


def check_temperature(temperature: float) -> None:
    """Raise DktError unless ``temperature`` is within ``dkt.base.ranges.TEMPERATURE``."""
    TEMPERATURE.check(float(temperature), "temperature")


def check_choice(num_pdfs: int, top_k: int | None, temperatures: Sequence[float]) -> int:
    """The number of pdfs that are kept.

    Raises:
        DktError: ``top_k`` above P, a temperature that is not above 0, or none where there is a tail.
    """
    if top_k is not None and not 1 <= top_k <= num_pdfs:
        raise DktError(f"--top-k is {top_k}, expected a number from 1 to the {num_pdfs} pdfs, or 'all'")
    for temperature in temperatures:
        check_temperature(temperature)
    if len(set(temperatures)) != len(temperatures):
        raise DktError(f"duplicate temperature in '{temperatures_text(temperatures)}'")
    kept = num_pdfs if top_k is None else top_k
    if kept < num_pdfs and not temperatures:
        raise DktError("no temperature is declared", hint="the tail needs one: --temperatures '1 2 5'")
    return kept


def position(temperature: float, temperatures: Sequence[float]) -> int | None:
    """Where a temperature stands among others, but for the rounding of its text; None if it does not."""
    matches = (
        n for n, known in enumerate(temperatures) if math.isclose(temperature, known, rel_tol=_ROUNDING)
    )
    return next(matches, None)


def temperatures_text(temperatures: Sequence[float]) -> str:
    """Temperatures as they read in messages."""
    return " ".join(f"{temperature:g}" for temperature in temperatures)


@dataclass(frozen=True)
class TargetHeader:
    """What a set of soft targets is made of; targets and student must agree on it.

    Attributes:
        fingerprint: of the teacher's weights; empty where the teacher is unknown.
        num_pdfs: P.
        top_k: K, None for all.
        temperatures: those that the tail is known at.
        teacher: the teacher's features, for the record: the student's may differ.
        version: of the format.

    Raises:
        DktError: K above P, a temperature that is not above 0, or K below P and no temperature.
    """

    fingerprint: str
    num_pdfs: int
    top_k: int | None
    temperatures: tuple[float, ...]
    teacher: dict[str, Any]
    version: int = 1

    def __post_init__(self) -> None:
        check_choice(self.num_pdfs, self.top_k, self.temperatures)

    @property
    def num_kept(self) -> int:
        """K, a number in any case."""
        return self.num_pdfs if self.top_k is None else self.top_k

    @property
    def dense(self) -> bool:
        """Whether all pdfs are kept; then they stand in order and there is no tail."""
        return self.num_kept == self.num_pdfs

    @property
    def index_bytes(self) -> int:
        """Bytes of a pdf-id on disk: 0 where all are kept, else 2 or 4."""
        return 0 if self.dense else 2 if self.num_pdfs <= _INT16_PDFS else 4

    @property
    def bytes_per_frame(self) -> int:
        """Bytes of a frame on disk, beside a few a record."""
        num_tails = 0 if self.dense else len(self.temperatures)
        return self.num_kept * (2 + self.index_bytes) + 2 * num_tails

    @property
    def megabytes_per_hour(self) -> float:
        """Size on disk of an hour of speech at 100 frames a second, in 10^6 bytes."""
        return self.bytes_per_frame * FRAMES_PER_HOUR / 1e6

    def describe(self) -> str:
        """One line for the log: what is kept and how large it is."""
        kept = "all" if self.dense else str(self.num_kept)
        tails = "" if self.dense else f", tails at temperatures {temperatures_text(self.temperatures)}"
        return (
            f"{kept} of {self.num_pdfs} pdfs{tails}: {self.megabytes_per_hour:.1f} MB per hour of speech "
            "(100 frames a second)"
        )

    def check_teacher(self, fingerprint: str | None, num_pdfs: int, path: str | Path) -> None:
        """Raise DktError unless the targets are of this teacher (None: any) and this number of pdfs."""
        if num_pdfs != self.num_pdfs:
            raise DktError(
                f"the soft targets are of {self.num_pdfs} pdfs, expected {num_pdfs}",
                path=path,
                hint="teacher and student must be trained on the same alignments and tree",
            )
        if fingerprint is not None and self.fingerprint and fingerprint != self.fingerprint:
            raise DktError(
                f"the soft targets are of the teacher {self.fingerprint}, not of {fingerprint}",
                path=path,
                hint="make them again with steps/make_soft_targets.sh",
            )


#: Where a directory of soft targets says what it holds.
HEADER_FILE = "header.yaml"
_FORMAT = "dkt-soft-targets"
_SEALED = re.compile(rb"(.*\n)# crc32 ([0-9a-f]{8})\n", re.DOTALL)


@dataclass(frozen=True)
class HeaderFile:
    """The content of ``header.yaml``; ``num_utterances`` is missing until the set is whole.

    ``script_crc32`` is the CRC-32 of ``soft.scp``.
    """

    format: str
    version: int
    fingerprint: str
    num_pdfs: int
    top_k: int | None
    temperatures: list
    teacher: dict[str, Any]
    num_jobs: int
    num_utterances: int | None = None
    script_crc32: int | None = None

    @classmethod
    def of(cls, header: TargetHeader, num_jobs: int) -> HeaderFile:
        """That of a set that ``num_jobs`` writers are about to make."""
        values = {**asdict(header), "temperatures": list(header.temperatures)}
        return cls(format=_FORMAT, num_jobs=num_jobs, **values)

    def header(self) -> TargetHeader:
        """What the set is made of.

        Raises:
            DktError: it is impossible.
        """
        temperatures = tuple(float(temperature) for temperature in self.temperatures)
        return TargetHeader(
            self.fingerprint, self.num_pdfs, self.top_k, temperatures, self.teacher, self.version
        )

    def save(self, directory: Path) -> None:
        """Write it, with a checksum, into the directory of the set."""
        data = yaml.safe_dump(asdict(self), sort_keys=False).encode()
        replace_file(directory / HEADER_FILE, data + b"# crc32 %08x\n" % zlib.crc32(data))


def load_header(directory: Path) -> HeaderFile:
    """The header of a directory of soft targets.

    Raises:
        DktError: it is missing, damaged, something else, or of a newer dkt.
    """
    path = directory / HEADER_FILE
    if not is_there(path):
        raise DktError("does not exist: this is not a directory of soft targets", path=path, hint=AGAIN)
    data = read_file(path)
    sealed = _SEALED.fullmatch(data)
    try:
        values = parse_yaml(sealed[1] if sealed else data)
    except RefusedYamlError as error:
        raise DktError(str(error), path=path, hint=AGAIN) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise DktError("is not a header of soft targets", path=path, hint=AGAIN)
    newest = TargetHeader.version
    if isinstance(values.get("version"), int) and values["version"] > newest:
        raise DktError(f"is of version {values['version']}, this dkt reads up to {newest}", path=path)
    try:
        file = build(HeaderFile, values, "")
        file.header()
        if sealed and zlib.crc32(sealed[1]) != int(sealed[2], 16):
            raise ValueError("its checksum is wrong")
        if not sealed and None not in (file.script_crc32, file.num_utterances):
            raise ValueError("its checksum is missing")
        return file
    except (DktError, TypeError, ValueError) as error:
        raise DktError(f"is damaged ({error})", path=path, hint=f"remove it and {AGAIN}") from None
