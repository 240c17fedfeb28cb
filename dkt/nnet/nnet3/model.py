"""Models of nnet3: raw networks, and ``final.mdl`` of a transition model, a network and priors
(``nnet3/am-nnet-simple.cc``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.transition_model import TransitionModel, read_transition_model, write_transition_model
from dkt.nnet.nnet3.network import Nnet3, read_nnet3, write_nnet3
from dkt.util.object_io import ObjectReader, ObjectWriter


@dataclass(frozen=True)
class Nnet3Model:
    """A network and, in a ``final.mdl``, what goes with it.

    Attributes:
        network: the network.
        transition_model: None for a raw network.
        left_context, right_context: frames of the input that ``output`` needs on each side, as the file
            tells.
        priors: shape ``(P,)``, or ``(0,)`` for none, as in chain models.
    """

    network: Nnet3
    transition_model: TransitionModel | None = None
    left_context: int = 0
    right_context: int = 0
    priors: np.ndarray | None = None


def read_nnet3_model(path: str | Path) -> Nnet3Model:
    """Read a raw network or a ``final.mdl``: a file, ``-`` or ``command |``.

    Raises:
        DktError: it is none of both or damaged, or its parts do not fit together.
    """
    reader = ObjectReader.open(path)
    if reader.peek_token() != "<TransitionModel>":
        model = Nnet3Model(read_nnet3(reader))
    else:
        transition_model = read_transition_model(reader)
        network = read_nnet3(reader)
        reader.expect("<LeftContext>")
        left = reader.int32()
        reader.expect("<RightContext>")
        right = reader.int32()
        reader.expect("<Priors>")
        model = Nnet3Model(network, transition_model, left, right, reader.vector())
    if not reader.at_end():
        raise reader.fail("expected the end of the file after the network")
    try:
        check_parts(model)
    except DktError as error:
        raise DktError(str(error), path=path) from None
    return model


def check_parts(model: Nnet3Model) -> None:
    """Raise DktError unless transition model, network and priors fit together."""
    if model.transition_model is None:
        return
    outputs = model.network.dim_of("output-node", "output")
    if outputs == 0:
        raise DktError("the network has no output-node 'output'")
    pdfs = model.transition_model.num_pdfs
    if outputs != pdfs:
        raise DktError(f"the network has {outputs} outputs, the transition model {pdfs} pdfs")
    if model.priors is not None and len(model.priors):
        if len(model.priors) != outputs:
            raise DktError(f"there are {len(model.priors)} priors for {outputs} outputs")
        if not (np.isfinite(model.priors).all() and (model.priors >= 0.0).all()):
            raise DktError("a prior is not a number or below 0")


def encode_nnet3_model(model: Nnet3Model, binary: bool = True) -> bytes:
    """The bytes of a raw network, or of a ``final.mdl`` where there is a transition model.

    Args:
        model: what to write.
        binary: Kaldi's binary form, else its text form.
    """
    writer = ObjectWriter(binary)
    if model.transition_model is not None:
        write_transition_model(writer, model.transition_model)
    write_nnet3(writer, model.network)
    if model.transition_model is not None:
        writer.token("<LeftContext>")
        writer.int32(model.left_context)
        writer.token("<RightContext>")
        writer.int32(model.right_context)
        writer.token("<Priors>")
        writer.vector(np.zeros(0, np.float32) if model.priors is None else model.priors)
    return writer.getvalue()
