"""The kinds of network, by the names that configurations and model files call them: a row for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dkt.base.errors import DktError
from dkt.base.references import referenced
from dkt.base.spelling import near

if TYPE_CHECKING:
    from dkt.nnet.network import Network

#: The class of each kind: as ``module:class``, which brings PyTorch and is imported when it is asked for, or
#: itself, in rows that are added from Python.
NETWORKS: dict[str, str | type[Network]] = {
    "dnn": "dkt.nnet.dnn:Dnn",
    "lstm": "dkt.nnet.lstm:Lstm",
    "blstm": "dkt.nnet.blstm:Blstm",
    "gru": "dkt.nnet.gru:Gru",
}

#: Kinds that only an import makes: a training goes on with one of them, and begins none.
IMPORTED: dict[str, str] = {"nnet1": "dkt.nnet.nnet1.as_it_is:Nnet1AsItIs"}


def layers_text(network: Mapping[str, Any]) -> str:
    """The hidden layers of a configuration: ``4x512``, ``2x320(128)`` with a projection; empty if unknown."""
    number = network.get("hidden_layers", network.get("layers"))
    size = next((network[name] for name in ("hidden_dim", "cells", "units") if name in network), None)
    if number is None or size is None:
        return ""
    return f"{number}x{size}" + (f"({network['projection']})" if network.get("projection") else "")


def check_kind(kind: object) -> str:
    """The name of a kind of network.

    Raises:
        DktError: there is no such kind; the known ones are listed.
    """
    if not isinstance(kind, str) or kind not in NETWORKS | IMPORTED:
        meant = near(str(kind).lower(), NETWORKS)
        hint = f"did you mean {meant}? " if meant else ""
        raise DktError(f"unknown kind of network '{kind}'", hint=f"{hint}known are {', '.join(NETWORKS)}")
    return kind


def network_class(kind: str) -> type[Network]:
    """The class of a kind of network.

    Raises:
        DktError: there is no such kind, or its row names something else than a network.
    """
    found = referenced((NETWORKS | IMPORTED)[check_kind(kind)], f"network '{kind}'")

    from dkt.nnet.network import FrameNetwork, SequenceNetwork

    if not isinstance(found, type) or not issubclass(found, (FrameNetwork, SequenceNetwork)):
        raise DktError(f"network '{kind}' is {found!r}, expected a FrameNetwork or SequenceNetwork class")
    if not dataclasses.is_dataclass(getattr(found, "Config", None)) or not hasattr(found, "sizes"):
        raise DktError(f"network '{kind}' lacks Config, a dataclass of its sizes, or sizes, their names")
    return found
