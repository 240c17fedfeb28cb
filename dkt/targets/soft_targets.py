"""Soft targets: the k largest log-posteriors of a teacher and, for each temperature, the mass of the rest.

T frames, P pdfs, K kept pdfs. The pdfs that are not kept, the tail, count as one lumped class; its share
depends on the temperature, so it is computed from all P log-posteriors for each temperature declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dkt.base.errors import DktError
from dkt.targets.header import check_choice, check_temperature, position, temperatures_text


@dataclass
class SoftTargets:
    """A teacher's posteriors on T frames.

    Attributes:
        pdfs: kept pdfs, int64 of shape ``(T, K)``. In frames that have fewer than others the first pdf is
            repeated with a log-posterior of -inf, so that no pdf is taken from the tail.
        log_post: their log-posteriors at temperature 1; float32, shape ``(T, K)``.
        tails: log of the sum of ``exp(log_post / temperature)`` over the pdfs that are not kept, for each
            temperature; -inf where nothing is left. Float32, shape ``(T, num_temperatures)``.
        temperatures: those of the columns of ``tails``.
        dense: every row of ``pdfs`` is 0 to P - 1 (and a view that takes no memory).
        hint: a hidden layer of the teacher, float32 of shape ``(T, H)``; None where nobody asked for it.
    """

    pdfs: torch.Tensor
    log_post: torch.Tensor
    tails: torch.Tensor
    temperatures: tuple[float, ...]
    dense: bool = False
    hint: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_post)

    def tail(self, temperature: float) -> torch.Tensor:
        """The tail at one temperature: float32, shape ``(T,)``.

        Raises:
            DktError: it is not known at this temperature, which was not declared when the targets were made.
        """
        check_temperature(temperature)
        place = position(temperature, self.temperatures)
        if place is not None:
            return self.tails[:, place]
        if torch.isneginf(self.tails).all():
            # No mass at one temperature is none at any.
            return torch.full_like(self.log_post[:, 0], -torch.inf)
        raise DktError(
            f"the soft targets have no tail at temperature {temperature:g}, "
            f"but at {temperatures_text(self.temperatures)}",
            hint="make them again with this temperature in --temperatures, or with --top-k all",
        )

    def best(self) -> torch.Tensor:
        """The pdf that the teacher finds most likely, int64 of shape ``(T,)``."""
        return best_class(self.pdfs, self.log_post)

    def check_length(self, num_frames: int, path: str | Path, utt: str) -> None:
        """Raise DktError unless there are targets of ``num_frames`` frames."""
        if len(self) != num_frames:
            raise DktError(
                f"soft targets of {len(self)} frames, the features have {num_frames}",
                path=path,
                utt=utt,
                hint="make both from the same audio with the same frame shift",
            )

    def select(self, frames: torch.Tensor) -> SoftTargets:
        """The frames of the given indices, int64 of shape ``(B,)``."""
        pdfs = self.pdfs[:1].expand(len(frames), -1) if self.dense else self.pdfs[frames]
        hint = None if self.hint is None else self.hint[frames]
        return SoftTargets(
            pdfs, self.log_post[frames], self.tails[frames], self.temperatures, self.dense, hint
        )

    def to(self, device: torch.device | str) -> SoftTargets:
        """A copy on a device."""
        # Moving a view of one row would make all rows real.
        row = self.pdfs[:1].to(device).expand(len(self), -1) if self.dense else self.pdfs.to(device)
        hint = None if self.hint is None else self.hint.to(device)
        return SoftTargets(
            row, self.log_post.to(device), self.tails.to(device), self.temperatures, self.dense, hint
        )


def stack(pieces: Sequence[SoftTargets]) -> SoftTargets:
    """Join the targets of several utterances, in order.

    Raises:
        DktError: they are of different temperatures.
    """
    temperatures = pieces[0].temperatures
    if any(piece.temperatures != temperatures for piece in pieces):
        raise DktError("soft targets of different temperatures cannot be joined")
    width = max(piece.log_post.shape[1] for piece in pieces)
    dense = all(piece.dense for piece in pieces)
    log_post = torch.cat(
        [_padded(p.log_post, width, torch.full_like(p.log_post, -torch.inf)) for p in pieces]
    )
    if dense:
        pdfs = torch.arange(width, device=log_post.device).expand(len(log_post), -1)
    else:
        pdfs = torch.cat([_padded(piece.pdfs, width, piece.pdfs) for piece in pieces])
    return SoftTargets(pdfs, log_post, torch.cat([p.tails for p in pieces]), temperatures, dense)


def _padded(values: torch.Tensor, width: int, filler: torch.Tensor) -> torch.Tensor:
    missing = width - values.shape[1]
    return torch.cat([values, filler[:, :1].expand(-1, missing)], dim=1) if missing else values


def top_k_targets(log_post: torch.Tensor, top_k: int | None, temperatures: Sequence[float]) -> SoftTargets:
    """Keep the largest log-posteriors of each frame, largest first, and sum up the rest.

    Args:
        log_post: the teacher's log-posteriors at temperature 1, shape ``(T, P)``.
        top_k: how many to keep; None or P for all, in the order of the pdfs.
        temperatures: where the tail is computed.

    Raises:
        DktError: ``top_k`` above P, a temperature that is not above 0, or none where there is a tail.
    """
    num_frames, num_pdfs = log_post.shape
    kept = check_choice(num_pdfs, top_k, temperatures)
    temperatures = tuple(float(temperature) for temperature in temperatures)
    if kept == num_pdfs:
        pdfs = torch.arange(num_pdfs, device=log_post.device).expand(num_frames, -1)
        tails = log_post.new_full((num_frames, len(temperatures)), -torch.inf)
        return SoftTargets(pdfs, log_post, tails, temperatures, dense=True)
    values, pdfs = log_post.topk(kept, dim=1)
    # The rest is summed by itself: one minus the kept mass would lose a small tail to rounding.
    rest = log_post.scatter(1, pdfs, -torch.inf)
    tails = torch.stack([(rest / temperature).logsumexp(dim=1) for temperature in temperatures], dim=1)
    return SoftTargets(pdfs, values, tails, temperatures)


def best_class(pdfs: torch.Tensor, log_post: torch.Tensor) -> torch.Tensor:
    """The class that the teacher finds most likely, int64 of shape ``(B,)``; both arguments ``(B, K)``."""
    return pdfs.gather(1, log_post.argmax(dim=1, keepdim=True)).squeeze(1)
