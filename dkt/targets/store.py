"""Soft targets on disk: a directory that is tied to its teacher and tells whether it is whole.

``header.yaml`` says what the targets are made of. ``soft.JOB.ark`` holds a record for each utterance, keyed
and flushed as in Kaldi's archives; ``soft.scp`` names the place of each, sorted, relative to the directory.
The number of utterances and the checksum of ``soft.scp`` go into the header last, when all is there; the last
line of the header is the checksum of those before. Headers of an earlier dkt have neither checksum. Jobs may
write at the same time: ``begin``, a ``SoftTargetWriter`` in each job, ``finish``.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import torch

from dkt.base.config import first_difference
from dkt.base.errors import DktError
from dkt.base.files import read_file, replace_file
from dkt.targets.header import AGAIN, HEADER_FILE, HeaderFile, TargetHeader, load_header
from dkt.targets.records import HEAD_SIZE, decode_record, encode_record, record_size
from dkt.targets.soft_targets import SoftTargets, top_k_targets
from dkt.util.kaldi_io import split_offset
from dkt.util.specifiers import file_name
from dkt.util.table import MatrixWriter, read_script

logger = logging.getLogger(__name__)

SCRIPT = "soft.scp"
# The step takes a directory that has its script for done, and without it makes all again.
_REMADE = f"remove {SCRIPT} and {AGAIN}"


def begin(directory: str | Path, header: TargetHeader, num_jobs: int = 1) -> None:
    """Make the directory, or empty it of earlier soft targets, and write the header.

    Args:
        directory: of the soft targets.
        header: what they will be made of; their size is logged.
        num_jobs: how many writers there will be.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for pattern in (SCRIPT, HEADER_FILE, "soft.*.ark", "soft.*.scp", ".soft.*.scp.partial"):
        for old in directory.glob(pattern):
            old.unlink()
    logger.info("soft targets: %s", header.describe())
    HeaderFile.of(header, num_jobs).save(directory)


def finish(directory: str | Path) -> int:
    """Join what the jobs wrote, and mark the directory as whole.

    Returns:
        The number of utterances.

    Raises:
        DktError: a job has not ended, or two have written the same utterance.
    """
    directory = Path(directory)
    file = load_header(directory)
    places: dict[str, str] = {}
    for job in range(1, file.num_jobs + 1):
        script = directory / f"soft.{job}.scp"
        if not script.is_file():
            raise DktError(f"does not exist: job {job} of {file.num_jobs} has not ended", path=script)
        for utt, place in read_script(str(script)).items():
            if utt in places:
                raise DktError("stands in two jobs", path=script, utt=utt)
            places[utt] = Path(place).name
    if not places:
        raise DktError("there are no soft targets in it", path=directory)
    lines = "".join(f"{utt} {places[utt]}\n" for utt in sorted(places))
    script_data = lines.encode("utf-8")
    replace_file(directory / SCRIPT, script_data)
    replace(file, num_utterances=len(places), script_crc32=zlib.crc32(script_data)).save(directory)
    size = sum(path.stat().st_size for path in directory.glob("soft.*.ark"))
    logger.info("soft targets of %d utterances in %s, %.1f MB", len(places), directory, size / 1e6)
    return len(places)


class SoftTargetWriter(MatrixWriter):
    """Writes the soft targets of one job, or all of them; use it as a context manager.

    ``write(utt, value)`` takes SoftTargets, or a matrix of log-posteriors ``(T, P)`` that is reduced to them.

    Args:
        directory: of the soft targets.
        header: what they are made of.
        job: the number of this job among those that ``begin`` was told of; None if this writer is the only
            one, and begins and finishes the directory itself.

    Raises:
        DktError: the directory was begun with another header.
    """

    def __init__(self, directory: str | Path, header: TargetHeader, job: int | None = None) -> None:
        self.directory = Path(directory)
        self.header = header
        self.job = job
        stem = self.directory / f"soft.{job or 1}"
        self._script_path = stem.with_name(stem.name + ".scp")
        self._partial_path = stem.with_name(f".{stem.name}.scp.partial")
        super().__init__(f"ark:{file_name(stem)}.ark")
        self.spec.scp_filename = file_name(self._partial_path)

    def __enter__(self) -> Self:
        if self.job is None:
            begin(self.directory, self.header)
        else:
            self._check_header(self.job)
            self._script_path.unlink(missing_ok=True)
        return super().__enter__()

    def _check_header(self, job: int) -> None:
        file = load_header(self.directory)
        if not 1 <= job <= file.num_jobs:
            raise DktError(f"job {job} of {file.num_jobs} jobs", path=self.directory)
        difference = first_difference(asdict(file.header()), asdict(self.header))
        if difference:
            raise DktError(f"was begun with another header: {difference}", path=self.directory, hint=AGAIN)

    def encode(self, value: np.ndarray | SoftTargets) -> bytes:
        """The record of one utterance."""
        if isinstance(value, np.ndarray):
            log_post = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
            value = top_k_targets(log_post, self.header.top_k, self.header.temperatures)
        return encode_record(value, self.header)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        result = super().__exit__(kind, error, trace)
        if kind is None:
            # Only the places of a job that ended well get their name.
            self._partial_path.replace(self._script_path)
            if self.job is None:
                finish(self.directory)
        return result


class TargetDir:
    """The soft targets of a directory, read utterance by utterance.

    Args:
        directory: what ``SoftTargetWriter`` or ``steps/make_soft_targets.sh`` wrote.

    Attributes:
        header: what they are made of.

    Raises:
        DktError: it is not such a directory, or it is half-written.
    """

    half = True

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        file = load_header(self.directory)
        script = self.directory / SCRIPT
        if file.num_utterances is None or not script.is_file():
            raise DktError("the soft targets are half-written", path=self.directory, hint=AGAIN)
        self._places = read_script(str(script))
        if len(self._places) != file.num_utterances:
            raise DktError(
                f"lists {len(self._places)} utterances, {HEADER_FILE} says {file.num_utterances}",
                path=script,
                hint=AGAIN,
            )
        if file.script_crc32 is not None and zlib.crc32(read_file(script)) != file.script_crc32:
            raise DktError("is damaged, or was changed (its checksum is wrong)", path=script, hint=_REMADE)
        self.header = file.header()
        self._files: dict[str, BinaryIO] = {}

    @property
    def path(self) -> Path:
        """The directory, under the name that it has in ``DataDir`` and ``AlignmentDir``."""
        return self.directory

    @property
    def where(self) -> str:
        """The place of the targets, for messages."""
        return str(self.directory)

    def __contains__(self, utt: str) -> bool:
        return utt in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def check_teacher(self, fingerprint: str | None, num_pdfs: int) -> None:
        """Raise DktError unless they are of this teacher (None: any) and this number of pdfs."""
        self.header.check_teacher(fingerprint, num_pdfs, self.directory / HEADER_FILE)

    def __getitem__(self, utt: str) -> SoftTargets:
        """The soft targets of one utterance.

        Raises:
            DktError: there are none, or they are damaged.
        """
        path, offset = self._place(utt)
        try:
            return decode_record(self._read_record(path, offset, utt), self.header)
        except DktError as error:
            raise DktError(str(error), path=path, utt=utt, hint=_REMADE) from None

    def read(self, utt: str, num_frames: int) -> SoftTargets:
        """The soft targets of one utterance.

        Raises:
            DktError: there are none, they are damaged, or they are not of ``num_frames`` frames.
        """
        targets = self[utt]
        targets.check_length(num_frames, self._place(utt)[0], utt)
        return targets

    def _place(self, utt: str) -> tuple[Path, int]:
        if utt not in self._places:
            raise DktError("has no soft targets", path=self.directory / SCRIPT, utt=utt, hint=AGAIN)
        name, offset = split_offset(self._places[utt])
        return self.directory / name, offset

    def _read_record(self, path: Path, offset: int, utt: str) -> bytes:
        file = self._open(path)
        # The utterance-id in front of the record is read too: a wrong place would give another's targets.
        key = utt.encode("utf-8") + b" "
        head = os.pread(file.fileno(), len(key) + HEAD_SIZE, max(0, offset - len(key)))
        if not head.startswith(key):
            raise DktError(f"there is no record of this utterance at {offset}")
        size = record_size(head[len(key) :], self.header)
        if offset + size > os.fstat(file.fileno()).st_size:
            raise DktError("the record is cut short")
        return os.pread(file.fileno(), size, offset)

    def _open(self, path: Path) -> BinaryIO:
        if path.name not in self._files:
            try:
                self._files[path.name] = path.open("rb")
            except OSError as error:
                raise DktError(f"cannot be read: {error.strerror}") from None
        return self._files[path.name]

    def close(self) -> None:
        """Close the archives; they open again by themselves."""
        while self._files:
            self._files.popitem()[1].close()
