"""Drawing by matplotlib into SVG, which needs no script and no network to be seen.

A figure is as wide as a column of the page, so that its letters can be read on a telephone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dkt.base.findings import shorten

# Okabe and Ito's colours, which colour-blind people tell apart, without the yellow that white swallows. More
# follow, for more systems.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000"),
    *("#9A6700", "#6F4E9C", "#8B1A1A", "#7A9A01", "#7F7F7F", "#F28E8E"),
)
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_WIDTH = 4.6  # inches
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    # Letters are the reader's: names may be of any script.
    "svg.fonttype": "none",
    # Names of parts, the same at every call.
    "svg.hashsalt": "dkt",
}
_LONGEST_NAME = 28


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: of its place in the page.
        title: over it.
        alt: what it shows, in words, for who cannot see it.
        caption: how to read it.
        svg: the drawing.
        wide: it takes the whole width of the page.
    """

    name: str
    title: str
    alt: str
    caption: str
    svg: bytes
    wide: bool = False


def has_matplotlib() -> bool:
    """Whether figures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


class Look:
    """The colour and the lines of each system, the same in all figures.

    Args:
        names: of the systems.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}

    def colour(self, name: str) -> str:
        """Of lines and points."""
        return _COLOURS[self._places[name] % len(_COLOURS)]

    def label(self, name: str) -> str:
        """Its name as a figure has room for it; matplotlib hides a label that begins with ``_``."""
        return f" {shorten(name, _LONGEST_NAME)}" if name.startswith("_") else shorten(name, _LONGEST_NAME)

    def line(self, name: str) -> Any:
        """The style of its lines, which tells systems apart beyond the number of colours."""
        return _LINES[self._places[name] // len(_COLOURS) % len(_LINES)]


def legend_above(axis: Any, ncols: int) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=ncols)


def draw(
    height: float,
    paint: Callable[[Any], None],
    width: float = _WIDTH,
    ratios: Sequence[float] = (1.0,),
    form: str = "svg",
) -> bytes:
    """Draw a figure.

    Args:
        height, width: inches.
        paint: is given the axes, or a list of them where there are several.
        ratios: the heights of axes above each other.
        form: svg, png or pdf.

    Returns:
        The bytes of a file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
        stream = io.BytesIO()
        # No date: the same results make the same page.
        metadata = {"Date": None, "Creator": None} if form == "svg" else None
        figure.savefig(stream, format=form, dpi=150, metadata=metadata)
    return stream.getvalue()
