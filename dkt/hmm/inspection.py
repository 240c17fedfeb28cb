"""What Kaldi's ``hmm-info``, ``tree-info`` and ``show-transitions`` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.transition_model import TransitionModel
from dkt.util.object_io import ObjectReader

if TYPE_CHECKING:
    from dkt.hmm.tree import ContextDependency


def hmm_info(model: TransitionModel) -> str:
    """The sizes of a transition model (``hmm-info.cc``)."""
    return (
        f"number of phones {len(model.topology.phones)}\n"
        f"number of pdfs {model.num_pdfs}\n"
        f"number of transition-ids {model.num_transition_ids}\n"
        f"number of transition-states {model.num_transition_states}"
    )


def tree_info(tree: ContextDependency) -> str:
    """The sizes of a decision tree (``tree-info.cc``)."""
    return (
        f"num-pdfs {tree.num_pdfs}\n"
        f"context-width {tree.context_width}\n"
        f"central-position {tree.central_position}"
    )


def load_occupancies(path: str | Path, num_pdfs: int) -> np.ndarray:
    """Frames of each pdf, as in ``final.occs``: shape ``(P,)``.

    Raises:
        DktError: the file cannot be read, or is of another model.
    """
    occs = ObjectReader.open(path).vector()
    if len(occs) != num_pdfs:
        raise DktError(
            f"counts of {len(occs)} pdfs, the model has {num_pdfs}",
            path=path,
            hint="give the occs file that was written with the model",
        )
    return occs


def show_transitions(
    model: TransitionModel, names: Mapping[int, str], occs: np.ndarray | None, phones_path: str | Path
) -> Iterator[str]:
    """The lines that ``show-transitions`` prints (``TransitionModel::Print``).

    Args:
        model: what to show.
        names: phone to its name.
        occs: frames of each pdf, shape ``(P,)``; None leaves them out.
        phones_path: where the names come from, for errors.

    Raises:
        DktError: a phone has no name.
    """
    is_hmm = model.topology.is_hmm()
    # In double precision and rounded once: NumPy's exponential in single precision is an ulp off at times.
    probs = np.exp(model.log_probs.astype(np.float64)).astype(np.float32)
    for number, (phone, state, forward, self_loop) in enumerate(model.tuples.tolist(), 1):
        if phone not in names:
            raise DktError(
                f"has no phone {phone}", path=phones_path, hint="give the phones.txt of the model's directory"
            )
        pdfs = f"pdf = {forward}" if is_hmm else f"forward-pdf = {forward} self-loop-pdf = {self_loop}"
        yield f"Transition-state {number}: phone = {names[phone]} hmm-state = {state} {pdfs}"
        for index, (destination, _) in enumerate(model.topology.states(phone)[state].transitions):
            tid = int(model.state2id[number]) + index
            count = "" if occs is None else f" count of pdf = {occs[model.id2pdf[tid]]:g}"
            arc = "self-loop" if destination == state else f"{state} -> {destination}"
            yield f" Transition-id = {tid} p = {probs[tid]:g}{count} [{arc}]"
