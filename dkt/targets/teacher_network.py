"""A network whose posteriors are kept as soft targets, of dkt or of Kaldi's nnet3."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.model_file import ModelInfo, fingerprint, load_model
from dkt.nnet.network import Network
from dkt.nnet.nnet3.directory import Nnet3Options, is_nnet3_file, network_file
from dkt.nnet.nnet3.scorer import Nnet3Scorer
from dkt.nnet.scorer import Forwarder, ModelScorer, OutputOptions
from dkt.targets.header import TargetHeader
from dkt.targets.top_k import TopK

# The network itself is known by its fingerprint.
_LEFT_OUT = ("network", "num_pdfs")


@dataclass(frozen=True)
class TeacherNetwork:
    """A teacher that is run.

    Attributes:
        scorer: gives its log-posteriors.
        fingerprint: 16 hexadecimal digits that name its weights, and what else its outputs depend on.
        features: those that it takes, for the record.
    """

    scorer: Forwarder
    fingerprint: str
    features: dict[str, Any]

    @classmethod
    def of_model(cls, info: ModelInfo, network: Network, device: torch.device) -> TeacherNetwork:
        """A network of dkt."""
        features = {name: value for name, value in info.describe().items() if name not in _LEFT_OUT}
        scorer = ModelScorer(info, network, OutputOptions(apply_log=True), device)
        return cls(scorer, fingerprint(network), features)

    @classmethod
    def of_nnet3(cls, path: Path, options: Nnet3Options, device: torch.device) -> TeacherNetwork:
        """A network of nnet3, which is known by its file, its output and how often it is computed."""
        factor = options.factor_of(path)
        scorer = Nnet3Scorer(path, False, True, options.output, factor, device)
        how = {"output": options.output, "frame_subsampling_factor": factor}
        pipeline = scorer.pipeline or FeatureOptions()
        stats = pipeline.global_cmvn_stats
        features = {
            "kind": "nnet3",
            "feature_dim": scorer.input_dim,
            "cmvn_opts": pipeline.cmvn_opts,
            "online_cmvn_opts": pipeline.online_cmvn_opts,
            "global_cmvn_stats": None if stats is None else stats.digest,
            "ivector_dim": pipeline.ivector_dim,
        }
        digest = hashlib.sha256(path.read_bytes() + repr(how).encode()).hexdigest()[:16]
        return cls(scorer, digest, features | how)


def load_teacher(model: str, options: Nnet3Options, device: torch.device) -> TeacherNetwork:
    """Open a teacher.

    Args:
        model: a ``final.pt`` of dkt, or a ``final.mdl`` or raw network of nnet3, or the directory of either.
        options: of networks of nnet3.
        device: where it shall run.

    Raises:
        DktError: it is neither, or is damaged.
    """
    path = network_file(model)
    if is_nnet3_file(path):
        return TeacherNetwork.of_nnet3(path, options, device)
    return TeacherNetwork.of_model(*load_model(path, device), device)


def target_header(
    teachers: Sequence[TeacherNetwork], top_k: TopK, temperatures: tuple[float, ...]
) -> TargetHeader:
    """The header of the soft targets that a teacher makes.

    Args:
        teachers: the teacher, or those of an ensemble.
        top_k: posteriors kept of each frame.
        temperatures: where the tail is computed.

    Raises:
        DktError: more posteriors than there are pdfs, or temperatures that cannot be.
    """
    first = teachers[0]
    num_pdfs = first.scorer.output_dim
    features = dict(first.features)
    names = [teacher.fingerprint for teacher in teachers]
    if len(names) > 1:
        features["ensemble"] = names
        names = [hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]]
    return TargetHeader(names[0], num_pdfs, top_k.of(num_pdfs), temperatures, features)
