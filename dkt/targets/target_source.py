"""What gives the soft targets of utterances, whoever made them."""

from __future__ import annotations

from typing import Protocol

from dkt.targets.header import TargetHeader
from dkt.targets.soft_targets import SoftTargets


class TargetSource(Protocol):
    """Where a student's soft targets come from; ``where`` says it in messages.

    Attributes:
        header: what they are made of.
        half: whether half precision holds them as they are.
    """

    header: TargetHeader
    half: bool

    @property
    def where(self) -> str: ...

    def __contains__(self, utt: str) -> bool: ...

    def read(self, utt: str, num_frames: int) -> SoftTargets:
        """The soft targets of one utterance of ``num_frames`` frames."""

    def check_teacher(self, fingerprint: str | None, num_pdfs: int) -> None:
        """Raise DktError unless they are of this teacher (None: any) and this number of pdfs."""
