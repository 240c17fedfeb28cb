"""The figures of posteriors: reliability, entropy, and one utterance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dkt.report.beliefs import ENTROPY_EDGES, Beliefs, Posteriorgram
from dkt.report.drawing import Look, Picture, draw, legend_above

# A phone is drawn if it has this posterior in some frame.
_SEEN = 0.2
# Of the width of the alignment, what a letter takes.
_LETTER = 0.016


def draw_posteriors(beliefs: Beliefs, look: Look) -> list[Picture]:
    """The figures of what networks believe, that of one utterance if there is one to show."""
    shown = beliefs.posteriorgram
    return [
        _reliability(beliefs, look),
        _entropy(beliefs, look),
        *([] if shown is None else [_posteriorgram(shown, look)]),
    ]


def _frame(axis: Any, across: str, up: str, right: float, top: float) -> None:
    """Label axes that begin at 0, and put the legend above them."""
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.set_xlim(0, right)
    axis.set_ylim(0, top)
    axis.grid(alpha=0.3)
    legend_above(axis, 1)


def _reliability(beliefs: Beliefs, look: Look) -> Picture:
    def paint(axis: Any) -> None:
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for name, found in beliefs.calibration.items():
            full = found.bins[found.bins[:, 0] > 0]
            label = f"{look.label(name)} (ECE {found.ece:.1f} %)"
            axis.plot(
                full[:, 1],
                full[:, 2],
                "o",
                markersize=3,
                color=look.colour(name),
                linestyle=look.line(name),
                label=label,
            )
        _frame(axis, "confidence: the largest posterior", "share of frames with that label", 1, 1)

    told = ", ".join(f"{name} {found.ece:.1f}" for name, found in beliefs.calibration.items())
    return Picture(
        "reliability",
        "Reliability",
        f"Reliability diagram on dev labels. Expected calibration error in percent: {told}.",
        "On the dotted line a network is right as often as it is sure; below it, it is too sure. "
        "ECE: expected calibration error.",
        draw(3.4 + 0.17 * len(beliefs.calibration), paint),
    )


def _entropy(beliefs: Beliefs, look: Look) -> Picture:
    def paint(axis: Any) -> None:
        for name, found in beliefs.calibration.items():
            shares = 100.0 * np.cumsum(found.entropies) / max(found.num_frames, 1)
            label = f"{look.label(name)} (mean {found.entropy:.2f})"
            axis.plot(
                ENTROPY_EDGES,
                [0.0, *shares],
                color=look.colour(name),
                linestyle=look.line(name),
                label=label,
            )
        _frame(axis, "entropy of the posteriors (nats)", "frames at or below it (%)", ENTROPY_EDGES[-1], 100)

    told = ", ".join(f"{name} {found.entropy:.2f}" for name, found in beliefs.calibration.items())
    return Picture(
        "entropy",
        "Entropy of the posteriors",
        f"Distribution of the entropy of the posteriors on dev. Means in nats: {told}.",
        "The further to the left and up, the sharper a network's posteriors are.",
        draw(3.4 + 0.17 * len(beliefs.calibration), paint),
    )


def _posteriorgram(found: Posteriorgram, look: Look) -> Picture:
    # In the order in which the alignment has them, the others behind.
    aligned = list(dict.fromkeys(found.labels.tolist()))
    largest = np.max([post.max(axis=0) for post in found.post.values()], axis=0)
    shown = aligned + [phone for phone in np.flatnonzero(largest >= _SEEN).tolist() if phone not in aligned]
    panel = 0.3 + 0.125 * len(shown)
    ratios = [*(panel for _ in found.post), 0.3]

    def paint(axes: Any) -> None:
        *panels, strip = axes
        for axis, (name, post) in zip(panels, found.post.items(), strict=True):
            _paint_posteriors(
                axis, post[:, shown], [found.phones[phone] for phone in shown], found.frame_shift
            )
            axis.set_title(look.label(name), loc="left")
        _paint_alignment(strip, found)

    names = ", ".join(found.post)
    words = " ".join(found.phones[phone] for phone, _, _ in _segments(found.labels))
    return Picture(
        "posteriorgram",
        f"Posteriorgram of {found.utt}",
        f"Posteriors of phones over time in utterance {found.utt}, for {names}. The alignment is: {words}.",
        "Dark is likely; pdfs are folded into phones, in the order in which the alignment has them. "
        "Below: the alignment.",
        draw(0.6 + sum(ratios), paint, ratios=ratios),
        wide=True,
    )


def _paint_posteriors(axis: Any, post: np.ndarray, names: Sequence[str], frame_shift: float) -> None:
    extent = (0.0, len(post) * frame_shift, len(names) - 0.5, -0.5)
    axis.imshow(
        post.T, aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, extent=extent, interpolation="nearest"
    )
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.tick_params(axis="y", length=0)


def _segments(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Phone, first frame and the frame behind the last, of each stretch of one phone."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [(int(labels[b]), b, e) for b, e in pairwise(edges)]


def _paint_alignment(axis: Any, found: Posteriorgram) -> None:
    for number, (phone, begin, end) in enumerate(_segments(found.labels)):
        start, stop = begin * found.frame_shift, end * found.frame_shift
        axis.axvspan(start, stop, color="#DDDDDD" if number % 2 else "#F3F3F3", linewidth=0)
        name = found.phones[phone]
        if end - begin >= _LETTER * len(name) * len(found.labels):
            axis.text((start + stop) / 2, 0.5, name, ha="center", va="center", fontsize=7)
    axis.set_yticks([])
    axis.set_ylim(0, 1)
    axis.set_xlabel("time (s)")
