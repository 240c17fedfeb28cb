"""Soft targets on disk, of a model or of any teacher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dkt.api.arguments import (
    PathName,
    path_of,
    share_of,
    speaker_inputs_of,
    temperatures_of,
    thread_policy_of,
    top_k_of,
)
from dkt.api.model import TEMPERATURES, Model, features_for
from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.directory_lock import hold_directory
from dkt.base.errors import DktError
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.nnet import threads
from dkt.nnet.forward import forward
from dkt.nnet.scorer import OutputOptions
from dkt.targets.header import TargetHeader
from dkt.targets.kaldi_posteriors import Form, targets_from_posteriors
from dkt.targets.soft_targets import SoftTargets
from dkt.targets.store import SoftTargetWriter, TargetDir
from dkt.targets.teacher_network import TeacherNetwork, target_header
from dkt.targets.top_k import DEFAULT, TopK
from dkt.util.data_dir import DataDir


def make_soft_targets(
    teacher: PathName | Model,
    data: PathName | DataDir,
    directory: PathName,
    *,
    top_k: int | str | TopK = DEFAULT,
    temperatures: float | Sequence[float] = TEMPERATURES,
    transform_dir: PathName | None = None,
    ivectors: PathName | None = None,
    max_dropped: float = DEFAULT_MAX_DROPPED,
    num_threads: int = 1,
    steal_lock: bool = False,
) -> TargetDir:
    """Run a teacher over a data directory and keep what it says, as ``dkt make-soft-targets``.

    Args:
        teacher: a model; by its name it computes on the CPU.
        data, transform_dir, ivectors, max_dropped: as of ``Model.features``.
        directory: where the soft targets shall be; those of before are replaced.
        top_k, temperatures: as of ``Model.soft_targets``.
        num_threads: CPU threads.
        steal_lock: take the directory from another process.

    Returns:
        The directory, opened: a mapping of utterances to ``SoftTargets``.

    Raises:
        DktError: bad data, a directory that holds something else, or too many utterances lost.
    """
    model = teacher if isinstance(teacher, Model) else Model.load(teacher)
    teacher_network = TeacherNetwork.of_model(model.info, model.network, model.device)
    header = target_header([teacher_network], top_k_of(top_k), temperatures_of(temperatures))
    tally = Tally("soft targets", share_of(max_dropped, "max_dropped"))
    reader = features_for(model, data, speaker_inputs_of(transform_dir, ivectors), tally)
    options = OutputOptions(apply_log=True)
    path = path_of(directory, "directory")
    refuse_other_kinds(path, Kind.TARGETS)
    with (
        threads.using(thread_policy_of(num_threads)),
        hold_directory(path, "dkt.make_soft_targets", steal_lock),
        SoftTargetWriter(path, header) as writer,
    ):
        forward(teacher_network.scorer, reader, options, writer, str(reader.data.path), tally)
    return TargetDir(path)


def write_soft_targets(
    directory: PathName,
    posteriors: Iterable[tuple[str, np.ndarray]] | Mapping[str, np.ndarray],
    *,
    top_k: int | str | TopK = DEFAULT,
    temperatures: float | Sequence[float] = TEMPERATURES,
    form: Form = "posteriors",
    steal_lock: bool = False,
) -> TargetDir:
    """Keep the posteriors of any teacher, one of dkt's or not, for its students.

    Args:
        directory, top_k, temperatures, steal_lock: as of ``make_soft_targets``.
        posteriors: pairs of utterance and matrix of shape ``(T, P)``, or a mapping.
        form: what the matrices hold: posteriors, log-posteriors (natural) or logits.

    Returns:
        As ``make_soft_targets``.

    Raises:
        DktError: no utterance, or what are not posteriors of the same P pdfs.
    """
    path = path_of(directory, "directory")
    refuse_other_kinds(path, Kind.TARGETS)
    utterances = _pairs(posteriors)
    utt, values = next(utterances, ("", None))
    if values is None:
        raise DktError("there is no utterance to write", path=path)
    num_pdfs = int(np.shape(values)[-1]) if np.ndim(values) == 2 else 0
    if num_pdfs == 0:
        raise DktError(f"{form} of shape {np.shape(values)}, expected (T, P)", path=path, utt=utt)
    header = TargetHeader("", num_pdfs, top_k_of(top_k).of(num_pdfs), temperatures_of(temperatures), {})
    # What is there is not replaced by what is wrong from its first utterance on.
    first = _targets(utt, values, header, form, path)
    with (
        hold_directory(path, "dkt.write_soft_targets", steal_lock),
        SoftTargetWriter(path, header) as writer,
    ):
        writer.write(utt, first)
        for utt, values in utterances:
            writer.write(utt, _targets(utt, values, header, form, path))
    return TargetDir(path)


def _pairs(posteriors: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Utterances and their matrices, of an iterable or a mapping."""
    pairs = posteriors.items() if isinstance(posteriors, Mapping) else posteriors
    if isinstance(pairs, np.ndarray) or not isinstance(pairs, Iterable):
        raise DktError(
            f"the posteriors are a {type(posteriors).__name__}, expected pairs of utterance and matrix"
        )
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise DktError(f"the posteriors hold a {type(pair).__name__}, expected (utterance, matrix)")
        yield pair[0], pair[1]


def _targets(utt: str, values: np.ndarray, header: TargetHeader, form: Form, path: Path) -> SoftTargets:
    try:
        matrix = np.asarray(values, dtype=np.float32)
        return targets_from_posteriors(matrix, header.num_pdfs, header.top_k, header.temperatures, form)
    except (TypeError, ValueError):
        raise DktError(f"{form} that are not a matrix of numbers", path=path, utt=utt) from None
    except DktError as error:
        raise DktError(str(error), path=path, utt=utt) from None
