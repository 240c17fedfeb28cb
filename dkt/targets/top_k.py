"""How many posteriors of a teacher are kept of a frame, before it is known how many pdfs there are."""

from __future__ import annotations

from dataclasses import dataclass

from dkt.base.ranges import TOP_K

_ALL = "all"


@dataclass(frozen=True)
class TopK:
    """How many are kept.

    Attributes:
        number: as many; None for all.
        given: it was asked for: more than there are pdfs is an error. A default is cut down to them.
    """

    number: int | None
    given: bool = True

    @classmethod
    def parse(cls, text: str) -> TopK:
        """What the option ``--top-k`` says.

        Raises:
            ValueError: it is neither a number nor ``all``; the message tells what was expected.
        """
        if text == _ALL:
            return cls(None)
        try:
            return cls(int(TOP_K.parse(text)))
        except ValueError as error:
            raise ValueError(f"{error}, and no '{_ALL}'") from None

    def of(self, num_pdfs: int) -> int | None:
        """How many are kept of ``num_pdfs`` pdfs; None for all."""
        if self.number is None or (not self.given and self.number >= num_pdfs):
            return None
        return self.number

    def __str__(self) -> str:
        text = _ALL if self.number is None else str(self.number)
        return text if self.given else f"{text}, or {_ALL} where there are fewer pdfs"


#: What a teacher says of all pdfs.
ALL = TopK(None)
#: What is kept unless told otherwise.
DEFAULT = TopK(20, given=False)
