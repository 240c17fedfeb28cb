"""Networks of nnet3 over whole utterances, as ``nnet3-compute`` runs them.

Source: ``nnet3/nnet-am-decodable-simple.cc``.

T frames, F features, O outputs, V the dimension of i-vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dkt.base.errors import DktError
from dkt.nnet.nnet3.evaluation import Evaluator
from dkt.nnet.nnet3.network import Nnet3

# Windows that Kaldi tries for the context, ComputeSimpleNnetContext in nnet-utils.cc.
_WINDOWS = (40, 80, 160, 320, 640)
# Networks whose outputs differ from frame to frame do so with a period of a few frames.
_LONGEST_PERIOD = 100
# i-vectors may end this many frames before the features do.
_IVECTOR_MARGIN = 50


@dataclass(frozen=True)
class ComputeOptions:
    """Kaldi's options of the same names.

    Attributes:
        frames_per_chunk: frames that are computed at once, each time from a state of zero; None for the whole
            utterance. Kaldi's default is 50. Online i-vectors are constant in a chunk.
        extra_left_context, extra_right_context: frames of input of a chunk past those that the network needs.
        extra_left_context_initial, extra_right_context_final: of the first and the last chunk; -1 for the
            same.
        frame_subsampling_factor: every how many frames there is an output.
        online_ivector_period: frames for each i-vector.
    """

    frames_per_chunk: int | None = None
    extra_left_context: int = 0
    extra_right_context: int = 0
    extra_left_context_initial: int = -1
    extra_right_context_final: int = -1
    frame_subsampling_factor: int = 1
    online_ivector_period: int = 10


class Nnet3Computer:
    """Computes an output of a network.

    Args:
        network: it takes ``input``, and maybe ``ivector``.
        output: the name of the output-node.
        dtype: the precision, float32 as Kaldi's or float64.

    Attributes:
        left_context, right_context: frames of the input that an output needs on each side.

    Raises:
        DktError: there is no such output, or other inputs, or an output that nothing can be computed of.
    """

    def __init__(self, network: Nnet3, output: str = "output", dtype: type = np.float32) -> None:
        self.network = network
        self.output = output
        self.evaluator = Evaluator(network, dtype)
        self.input_dim = network.dim_of("input-node", "input")
        self.ivector_dim = network.dim_of("input-node", "ivector")
        self.output_dim = network.dim_of("output-node", output)
        others = set(network.names("input-node")) - {"input", "ivector"}
        if not self.input_dim or others:
            raise DktError(
                f"the network takes {', '.join(network.names('input-node'))}, expected input and ivector"
            )
        if not self.output_dim:
            outputs = ", ".join(network.names("output-node"))
            raise DktError(f"the network has no output '{output}', it has {outputs}")
        self.modulus = _modulus(network)
        if self.modulus > _LONGEST_PERIOD:
            raise DktError(
                f"Round and Switch repeat every {self.modulus} frames, expected {_LONGEST_PERIOD} at most"
            )
        self.left_context, self.right_context = self._context()

    def __call__(
        self, features: np.ndarray, options: ComputeOptions | None = None, ivectors: np.ndarray | None = None
    ) -> np.ndarray:
        """Outputs ``(T', O)`` of one utterance, T' = T over the subsampling factor, rounded up.

        Args:
            features: shape ``(T, F)``, at least one frame.
            options: how to compute it.
            ivectors: shape ``(V,)`` for one of the utterance, ``(n, V)`` for one every so many frames.

        Raises:
            DktError: features or i-vectors are missing, too few or of another dimension.
        """
        options = options or ComputeOptions()
        self._check(features, ivectors)
        factor = options.frame_subsampling_factor
        count = -(-len(features) // factor)
        chunk = self._chunk(options, count)
        outputs = [
            self._compute(features, options, ivectors, first, min(first + chunk, count), count)
            for first in range(0, count, chunk)
        ]
        return np.concatenate(outputs)

    def _check(self, features: np.ndarray, ivectors: np.ndarray | None) -> None:
        if features.ndim != 2 or features.shape[1] != self.input_dim or not len(features):
            raise DktError(f"the network takes features (T, {self.input_dim}), found {features.shape}")
        dim = 0 if ivectors is None else ivectors.shape[-1]
        if dim != self.ivector_dim:
            raise DktError(f"the network takes i-vectors of dimension {self.ivector_dim}, found {dim}")

    def _chunk(self, options: ComputeOptions, count: int) -> int:
        """Outputs of a chunk."""
        if options.frames_per_chunk is None:
            return count
        step = math.lcm(options.frame_subsampling_factor, self.modulus)
        frames = -(-options.frames_per_chunk // step) * step
        return frames // options.frame_subsampling_factor

    def _compute(
        self,
        features: np.ndarray,
        options: ComputeOptions,
        ivectors: np.ndarray | None,
        first: int,
        end: int,
        count: int,
    ) -> np.ndarray:
        left, right = options.extra_left_context, options.extra_right_context
        if first == 0 and options.extra_left_context_initial >= 0:
            left = options.extra_left_context_initial
        if end == count and options.extra_right_context_final >= 0:
            right = options.extra_right_context_final
        factor = options.frame_subsampling_factor
        # The first output of each chunk is at time 0.
        times = np.arange(end - first) * factor
        span = np.arange(-self.left_context - left, times[-1] + self.right_context + right + 1)
        rows = np.clip(span + first * factor, 0, len(features) - 1)
        inputs = {"input": (span, features[rows])}
        if ivectors is not None:
            vector = ivectors
            if ivectors.ndim == 2:
                vector = _current_ivector(
                    ivectors, first * factor, int(times[-1]), options.online_ivector_period
                )
            inputs["ivector"] = (np.zeros(1, np.int64), vector[None])
        return self.evaluator(inputs, self.output, times)

    def _context(self) -> tuple[int, int]:
        for size in _WINDOWS:
            found = [self._context_from(start, size) for start in range(self.modulus)]
            contexts = [context for context in found if context is not None]
            if len(contexts) == len(found):
                return max(left for left, _ in contexts), max(right for _, right in contexts)
        raise DktError(f"'{self.output}' cannot be computed of {_WINDOWS[-1]} frames of input")

    def _context_from(self, start: int, size: int) -> tuple[int, int] | None:
        times = np.arange(start, start + size)
        inputs = {"input": times, "ivector": np.arange(start - self.modulus, start + size)}
        there = np.flatnonzero(self.evaluator.computable(inputs, self.output, times))
        if not len(there):
            return None
        gaps = np.flatnonzero(np.diff(there) > 1)
        last = there[gaps[0]] if len(gaps) else there[-1]
        return int(there[0]), int(size - 1 - last)


def _modulus(network: Nnet3) -> int:
    """A shift of the time by which nothing changes (``Nnet::Modulus``)."""
    modulus = 1
    sources = [node.source for node in network.nodes.values() if node.source is not None]
    while sources:
        source = sources.pop()
        if source.op == "Round":
            modulus = math.lcm(modulus, source.number)
        elif source.op == "Switch":
            modulus = math.lcm(modulus, len(source.inputs))
        sources.extend(source.inputs)
    return modulus


def _current_ivector(ivectors: np.ndarray, start: int, span: int, period: int) -> np.ndarray:
    """That of the middle of a chunk, from ``start`` to its last output ``span`` frames later."""
    frame = start + span // 2
    number = frame // period
    last = len(ivectors) - 1
    if (number - last) * period > _IVECTOR_MARGIN:
        raise DktError(
            f"there are {len(ivectors)} i-vectors, one every {period} frames: none for frame {frame}",
            hint="give the period that they were extracted with",
        )
    return ivectors[min(number, last)]
