"""Phones of alignments in the forms of Kaldi's ``ali-to-phones``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.alignments import read_alignments
from dkt.hmm.phone_segments import phones_and_lengths
from dkt.hmm.transition_model import TransitionModel
from dkt.matrix.matrix_io import encode_int_vector
from dkt.util.kaldi_io import open_output
from dkt.util.table import IntVectorWriter, TableWriter

#: One phone a segment; one a frame; pairs of a phone and its frames; lines of times.
PhoneForm = Literal["segments", "frames", "lengths", "ctm"]


class PairWriter(TableWriter):
    """Writes pairs of integers, shape ``(n, 2)`` (``BasicPairVectorHolder<int32>``)."""

    def encode(self, value: np.ndarray) -> bytes:
        """The pairs in Kaldi's binary or text form."""
        if self.text:
            return ("; ".join(f"{first} {second} " for first, second in value.tolist()) + "\n").encode()
        head = b"\0B" + struct.pack("<Bi", 4, len(value))
        # As a vector of integers, but for the length, which counts pairs.
        return head + encode_int_vector(value.reshape(-1))[len(head) :]


def ctm_lines(utt: str, phones: np.ndarray, lengths: np.ndarray, frame_shift: float) -> Iterator[str]:
    """Lines ``<utt> 1 <start> <length> <phone>``, times in seconds (``ali-to-phones.cc``).

    Args:
        utt: the utterance.
        phones, lengths: of each segment, shape ``(number of phones,)``; lengths in frames.
        frame_shift: seconds.
    """
    # Kaldi adds in single precision and compares with a double: 0.01 in single precision is a little below.
    shift = np.float32(frame_shift)
    digits = 2 if float(shift) >= 0.01 else 3
    start = np.float32(0.0)
    for phone, length in zip(phones, lengths, strict=True):
        duration = shift * np.float32(length)
        yield f"{utt} 1 {start:.{digits}f} {duration:.{digits}f} {phone}"
        start += duration


def write_phones(
    model: TransitionModel, rspecifier: str, output: str, form: PhoneForm, frame_shift: float = 0.01
) -> int:
    """Write the phones of a table of alignments and return the number of utterances.

    Args:
        model: the model that made the alignments.
        rspecifier: of the alignments.
        output: a wspecifier; for ``ctm`` an extended filename.
        form: what is written.
        frame_shift: seconds, for ``ctm``.

    Raises:
        DktError: an alignment is not of this model.
    """
    num_done = 0
    with ExitStack() as stack:
        if form == "ctm":
            ctm = stack.enter_context(open_output(output))
        else:
            writer = stack.enter_context((PairWriter if form == "lengths" else IntVectorWriter)(output))
        for utt, ids in read_alignments(rspecifier, model):
            try:
                phones, lengths = phones_and_lengths(model, ids)
            except DktError as error:
                raise DktError(str(error), path=rspecifier, utt=utt) from None
            if form == "ctm":
                ctm.write(
                    "".join(f"{line}\n" for line in ctm_lines(utt, phones, lengths, frame_shift)).encode()
                )
            elif form == "lengths":
                writer.write(utt, np.stack([phones, lengths], axis=1))
            else:
                writer.write(utt, np.repeat(phones, lengths) if form == "frames" else phones)
            num_done += 1
    return num_done
