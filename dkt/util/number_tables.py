"""Tables of one number per utterance (``BasicHolder`` in ``util/kaldi-holder-inl.h``)."""

from __future__ import annotations

import struct

from dkt.util.table import TableWriter


class NumberWriter(TableWriter):
    """Writes numbers: an int as int32, a float in single precision."""

    def encode(self, value: int | float) -> bytes:
        """The number in Kaldi's binary or text form."""
        if self.text:
            return (f"{value} \n" if isinstance(value, int) else f"{value:.7g} \n").encode()
        return b"\0B" + struct.pack("<Bi" if isinstance(value, int) else "<Bf", 4, value)
