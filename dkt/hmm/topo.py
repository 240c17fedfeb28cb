"""The HMM topologies that Kaldi's recipes use, as text."""

from __future__ import annotations

from collections.abc import Sequence


def make_topology(
    nonsilence: Sequence[int], silence: Sequence[int], *, num_nonsil_states: int, num_sil_states: int
) -> list[str]:
    """The lines of a ``topo`` file.

    Phones are left to right. A silence of three states or more is ergodic except for its first state, which
    is never entered again, and its last, which cannot be skipped. Source: Kaldi's ``utils/gen_topo.pl``.

    Args:
        nonsilence: ids of the phones.
        silence: ids of the silence phones.
        num_nonsil_states: emitting states of a phone.
        num_sil_states: emitting states of a silence phone, 1 or at least 3.
    """
    if num_sil_states == 1:
        sil_states = _left_to_right(1)
    else:
        last = num_sil_states - 1
        # Fifteen digits, as Perl prints a number.
        prob = f"{1.0 / last:.15g}"
        sil_states = [_state(0, [(target, prob) for target in range(last)])]
        inner = [(target, prob) for target in range(1, num_sil_states)]
        sil_states += [_state(state, inner) for state in range(1, last)]
        sil_states += _left_to_right(num_sil_states)[last:]
    return [
        "<Topology>",
        *_entry(nonsilence, _left_to_right(num_nonsil_states)),
        *_entry(silence, sil_states),
        "</Topology>",
    ]


def _entry(phones: Sequence[int], states: Sequence[str]) -> list[str]:
    return [
        "<TopologyEntry>",
        "<ForPhones>",
        " ".join(map(str, phones)),
        "</ForPhones>",
        *states,
        "</TopologyEntry>",
    ]


def _left_to_right(num_states: int) -> list[str]:
    states = [_state(state, [(state, "0.75"), (state + 1, "0.25")]) for state in range(num_states)]
    return [*states, f"<State> {num_states} </State>"]


def _state(state: int, transitions: Sequence[tuple[int, str]]) -> str:
    arcs = " ".join(f"<Transition> {target} {prob}" for target, prob in transitions)
    return f"<State> {state} <PdfClass> {state} {arcs} </State>"
