"""A file of ONNX run in onnxruntime as a server would: the contract is that of ``dkt.export.onnx``.

T frames, N utterances, F features (i-vectors at their end), P pdfs.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from dkt.base.errors import DktError
from dkt.export.onnx_frames import OnnxState

#: Of a stream whose end is not known: more frames than there will be.
UNKNOWN_LENGTH = 2**62
# Only what ends the program is told.
_FATAL = 4


class OnnxSession:
    """An opened file.

    Args:
        path: a file that was written by dkt.
        threads: that onnxruntime computes with.

    Attributes:
        metadata: those of the file, by name; JSON is read.
        feature_dim, ivector_dim: F is their sum.
        output_delay: rows by which the output of a stream is later than its input.
        streaming: whether it is for streams, else for whole utterances.
        states: what a stream carries.
        outputs: the names of the others.

    Raises:
        DktError: it is missing, is no model of ONNX, or none of dkt.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DktError("is not there", path=path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = _FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            self.metadata = self._read_metadata()
            self.feature_dim = int(self.metadata["feature_dim"])
            self.ivector_dim = int(self.metadata["ivector_dim"])
            self.output_delay = int(self.metadata["output_delay"])
            self.streaming = {"streaming": True, "whole": False}[self.metadata["form"]]
            self.states = [
                OnnxState(state["name"], state["dtype"], tuple(state["shape"]))
                for state in self.metadata["states"]
            ]
        # The exceptions of onnxruntime have no base of their own.
        except Exception as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DktError(
                f"is no model of ONNX that dkt wrote, or is cut short ({reason})",
                path=path,
                hint="export it again",
            ) from None
        names = [output.name for output in self._session.get_outputs()]
        self.outputs = names[: len(names) - len(self.states)]

    def _read_metadata(self) -> dict[str, Any]:
        texts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        if not texts.get("model_type", "").startswith("dkt_"):
            raise ValueError("its metadata are not those of dkt")
        plain = ("model_type", "model_author", "dkt_version", "kind", "form", "log_priors")
        return {name: text if name in plain else json.loads(text) for name, text in texts.items()}

    def zero_states(self, num_streams: int) -> dict[str, np.ndarray]:
        """The states of N streams that begin an utterance."""
        return {state.name: np.zeros((num_streams, *state.shape), state.dtype) for state in self.states}

    def run(
        self, features: np.ndarray, lengths: np.ndarray, states: dict[str, np.ndarray], output: str
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One run: an output, and the states after it.

        Args:
            features: ``(T, N, F)`` of a file for streams, ``(N, T, F)`` of one for whole utterances.
            lengths: shape ``(N,)``.
            states: those before it.
            output: ``log_posteriors``, or ``loglikes``.
        """
        inputs = {"features": features[..., : self.feature_dim], "lengths": np.asarray(lengths, np.int64)}
        if self.ivector_dim:
            inputs["ivectors"] = features[..., self.feature_dim :]
        names = [output, *(f"{state.name}_out" for state in self.states)]
        first, *ended = self._session.run(names, inputs | states)
        return first, dict(zip(states, ended, strict=True))

    def outputs_of(
        self,
        utterances: Sequence[np.ndarray],
        chunk_sizes: Sequence[int] = (1, 7, 20),
        output: str = "log_posteriors",
    ) -> list[np.ndarray]:
        """The output ``(T, P)`` of each of N utterances, which are run side by side.

        Args:
            utterances: features of each, shape ``(T, F)``, after what is done before the graph.
            chunk_sizes: frames of the chunks, in turn and from the first again, of a file for streams.
            output: ``log_posteriors``, or ``loglikes``.

        Raises:
            DktError: features of another dimension or without frames, or there is no such output.
        """
        self._check(utterances, output)
        lengths = np.array([len(frames) for frames in utterances])
        delay = self.output_delay if self.streaming else 0
        padded = np.zeros(
            (len(utterances), lengths.max() + delay, self.feature_dim + self.ivector_dim), np.float32
        )
        for row, frames in zip(padded, utterances, strict=True):
            row[: len(frames)] = frames
        if self.streaming:
            chunks = self._chunks(padded.transpose(1, 0, 2), lengths, chunk_sizes, output)
            outputs = np.concatenate(list(chunks)).transpose(1, 0, 2)
        else:
            outputs, _ = self.run(padded, lengths, {}, output)
        return [rows[delay : delay + length] for rows, length in zip(outputs, lengths, strict=True)]

    def _chunks(
        self, features: np.ndarray, lengths: np.ndarray, sizes: Sequence[int], output: str
    ) -> Iterator[np.ndarray]:
        states, begin = self.zero_states(features.shape[1]), 0
        for size in itertools.cycle(sizes):
            end = begin + size
            # A server learns of the end no earlier than when it comes to it.
            known = np.where(lengths < end, lengths, UNKNOWN_LENGTH)
            result, states = self.run(features[begin:end], known, states, output)
            yield result
            begin = end
            if begin >= len(features):
                return

    def _check(self, utterances: Sequence[np.ndarray], output: str) -> None:
        if output not in self.outputs:
            raise DktError(f"has no output {output}, it has {' and '.join(self.outputs)}", path=self.path)
        dim = self.feature_dim + self.ivector_dim
        for frames in utterances:
            if frames.ndim != 2 or len(frames) == 0 or frames.shape[1] != dim:
                raise DktError(
                    f"features of shape {frames.shape}, expected frames of dimension {dim}", path=self.path
                )


def onnx_log_posteriors(
    path: str | Path, features: np.ndarray, chunk_sizes: Sequence[int] = (1, 7, 20)
) -> np.ndarray:
    """Log-posteriors ``(T, P)`` of one utterance by a file of ONNX, run as a server would.

    Args:
        path: the file.
        features: shape ``(T, F)``, after ``dkt.export.onnx_features.options_before_onnx``.
        chunk_sizes: as of ``OnnxSession.outputs_of``.

    Raises:
        DktError: as ``OnnxSession``.
    """
    return OnnxSession(path).outputs_of([features], chunk_sizes)[0]
