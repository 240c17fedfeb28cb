"""A Kaldi data directory: reading and checking it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.ranges import FRAME_SHIFT
from dkt.util.table import read_script
from dkt.util.text import read_keyed_lines, read_lines

#: Seconds, where a data directory does not tell another in its file ``frame_shift``.
DEFAULT_FRAME_SHIFT = 0.01
_SHOWN = 80


def misplaced(keys: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs (previous, key) of neighbours that are not in C order: that of their bytes in UTF-8."""
    return [(previous, key) for previous, key in pairwise(keys) if key < previous]


class DataDir:
    """A Kaldi data directory; each file is read when it is first asked for.

    Args:
        path: the directory.

    Raises:
        DktError: it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DktError("not a directory", path=self.path, hint="give a Kaldi data directory")

    def file(self, name: str, made_by: str) -> Path:
        """The path of the file ``name``.

        Raises:
            DktError: it is missing; ``made_by`` tells what makes it.
        """
        path = self.path / name
        if not path.is_file():
            raise DktError("does not exist", path=path, hint=f"make it with {made_by}")
        return path

    @cached_property
    def utt2spk(self) -> dict[str, str]:
        """Utterance to speaker."""
        path = self.file("utt2spk", "your data preparation")
        entries = read_keyed_lines(path)
        for utt, speaker in entries.items():
            if not speaker:
                raise DktError("has no speaker", path=path, utt=utt)
        return entries

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker to utterances, in the order of ``utt2spk``."""
        speakers: dict[str, list[str]] = {}
        for utt, speaker in self.utt2spk.items():
            speakers.setdefault(speaker, []).append(utt)
        return speakers

    @cached_property
    def wav_scp(self) -> dict[str, str]:
        """Recording to extended filename."""
        return read_script(str(self.file("wav.scp", "your data preparation")))

    @cached_property
    def feats_scp(self) -> dict[str, str]:
        """Utterance to the place of its features."""
        return read_script(str(self.file("feats.scp", "steps/make_fbank.sh or steps/make_mfcc.sh")))

    @cached_property
    def text(self) -> dict[str, str]:
        """Utterance to transcript, which may be empty: nothing was said."""
        return read_keyed_lines(self.file("text", "your data preparation"))

    @cached_property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next: what the file ``frame_shift`` tells, else 0.01.

        Raises:
            DktError: the file holds something else than one such number.
        """
        path = self.path / "frame_shift"
        if not path.is_file():
            return DEFAULT_FRAME_SHIFT
        text = " ".join(read_lines(path)).strip()
        try:
            return FRAME_SHIFT.parse(text)
        except ValueError:
            raise DktError(
                f"expected {FRAME_SHIFT}, found '{text[:_SHOWN]}'",
                path=path,
                hint="write the seconds from one frame to the next, as 0.01, or remove the file",
            ) from None

    def check_sorted(self) -> None:
        """Check what every stage relies on: utterances in C order and grouped by speaker.

        Raises:
            DktError: they are not.
        """
        path = self.path / "utt2spk"
        hint = f"dkt fix-data {self.path} sorts the data directory"
        for previous, utt in misplaced(self.utt2spk):
            raise DktError(f"comes after '{previous}'", path=path, utt=utt, hint=hint)
        hint = "begin utterance-ids with the speaker-id"
        for previous, speaker in misplaced(self.utt2spk.values()):
            raise DktError(f"speaker '{speaker}' comes after '{previous}'", path=path, hint=hint)
