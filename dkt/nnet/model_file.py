"""Model files: weights and all that is needed to use them, without any code inside."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.base.memory import memory_for, require_memory
from dkt.feat.pipeline import FEATS, FeatureOptions, MatrixFile
from dkt.nnet.model_header import MODEL_FORMAT
from dkt.nnet.network import Network
from dkt.nnet.networks import network_class
from dkt.nnet.torchfile import load_torch, save_torch

_VERSION = 1
# Of a weight.
_BYTES = 4
_LONGEST = 200

#: Fields of ``FeatureOptions`` that a model file keeps as plain values, and as tensors.
_PIPELINE = (
    "cmvn_opts",
    "delta_opts",
    "splice_opts",
    "online_cmvn_opts",
    "paste",
    "speaker_transforms",
    "ivector_dim",
)
_MATRICES = ("transform", "global_cmvn_stats")


@dataclass
class ModelInfo:
    """What a model expects and gives, beside its weights.

    Attributes:
        kind: the network, of ``dkt.nnet.networks.NETWORKS``.
        feature_dim: F of the features that enter the network's splice, after the whole feature pipeline.
        num_pdfs: P.
        left_context, right_context: frames of splice, none for sequence networks.
        cmvn_opts, delta_opts, splice_opts, online_cmvn_opts, paste, speaker_transforms, ivector_dim: the
            feature pipeline, see ``dkt.feat.pipeline.FeatureOptions``.
        network: the network's configuration.
        matrices: those of the feature pipeline, ``transform`` and ``global_cmvn_stats``, where there are.
    """

    RENAMED: ClassVar[dict[str, str]] = FeatureOptions.RENAMED

    kind: str
    feature_dim: int
    num_pdfs: int
    left_context: int
    right_context: int
    cmvn_opts: str | None
    delta_opts: str | None
    network: dict[str, Any]
    splice_opts: str | None = None
    online_cmvn_opts: str | None = None
    paste: str = FEATS
    speaker_transforms: bool = False
    ivector_dim: int = 0
    matrices: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def with_features(cls, options: FeatureOptions, **others: Any) -> ModelInfo:
        """A description whose feature pipeline is ``options``; ``others`` are the other fields."""
        matrices = {
            name: torch.from_numpy(np.array(matrix.values))
            for name in _MATRICES
            if (matrix := getattr(options, name)) is not None
        }
        pipeline = {name: getattr(options, name) for name in _PIPELINE}
        return cls(**pipeline, **others, matrices=matrices)

    @property
    def feature_options(self) -> FeatureOptions:
        """The feature pipeline."""
        pipeline: dict[str, Any] = {name: getattr(self, name) for name in _PIPELINE}
        matrices = {name: MatrixFile(name, value.cpu().numpy()) for name, value in self.matrices.items()}
        return FeatureOptions(**(pipeline | matrices))

    @property
    def spliced_dim(self) -> int:
        """The dimension of the spliced features; i-vectors are not spliced."""
        num_frames = self.left_context + 1 + self.right_context
        return (self.feature_dim - self.ivector_dim) * num_frames + self.ivector_dim

    def describe(self) -> dict[str, Any]:
        """Plain values: of the matrices their digests."""
        options = self.feature_options
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "matrices"}
        return fields | {name: getattr(options, name).digest for name in self.matrices}


def build_network(info: ModelInfo, state: Mapping[str, torch.Tensor] | None = None) -> Network:
    """A network with fresh weights.

    Args:
        info: what it is to be.
        state: tensors that decide its shape beside its configuration: the transform of a DNN, ``lda.weight``.

    Raises:
        DktError: there is no such kind, its configuration does not fit it, or it does not fit into memory.
    """
    kind = network_class(info.kind)
    config: Any = build(kind.Config, info.network, "network")

    def make() -> Network:
        return kind.build(config, info.spliced_dim, info.num_pdfs, state)

    hint = f"lower {kind.sizes}"
    with memory_for("the network", hint):
        if torch.get_default_device().type != "meta":
            # Nothing large is made to find out how large it is.
            with torch.device("meta"):
                weights = sum(weight.numel() for weight in make().parameters())
            require_memory(_BYTES * weights, f"a network of {weights / 1e6:.0f} million weights", hint)
        return make()


def fingerprint(network: torch.nn.Module) -> str:
    """A hash of all weights: 16 hexadecimal digits that name a model."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_model(path: Path, info: ModelInfo, network: Network) -> None:
    """Write a model file.

    Args:
        path: for example ``exp/dnn/final.pt``.
        info: what the model expects and gives.
        network: the weights.
    """
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    plain = {name: value for name, value in dataclasses.asdict(info).items() if name != "matrices"}
    content = {"format": MODEL_FORMAT, "version": _VERSION, "info": plain, "state": state}
    save_torch(path, content | {"matrices": info.matrices})


def model_file(path: str | Path) -> Path:
    """The model file of an experiment directory, or the file itself."""
    path = Path(path)
    return path / "final.pt" if path.is_dir() else path


def load_model(path: str | Path, device: torch.device | str = "cpu") -> tuple[ModelInfo, Network]:
    """Read a model file; the network is in evaluation mode.

    Raises:
        DamagedError: the file is not as it was written.
        DktError: it is missing, cannot be read, is something else, of a newer version, or its parts do not go
            together.
    """
    path = Path(path)
    content = load_torch(path, device)
    if content.get("format") != MODEL_FORMAT:
        raise DktError("is not a model file of dkt", path=path)
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise DktError(f"is not a model of this dkt (its version is {_short(version)})", path=path)
    if version > _VERSION:
        raise DktError(f"is of version {version}, this dkt reads up to {_VERSION}", path=path)
    matrices = content.get("matrices", {})
    if not isinstance(matrices, dict) or not set(matrices) <= set(_MATRICES):
        raise DktError("is of a newer dkt", path=path, hint="update dkt")
    try:
        info = build(ModelInfo, _described(content), "info")
        info.matrices = matrices
        state = _checked_state(info, content.get("state"))
        # Weights that are about to be replaced cost the caller no random numbers.
        with torch.random.fork_rng(devices=[]):
            network = build_network(info, state)
        network.load_state_dict(state)
    except (DktError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise DktError(f"is not a model of this dkt ({_short(error)})", path=path) from None
    return info, network.to(device).eval()


def _described(content: dict[str, Any]) -> Any:
    if content.get("info") is None:
        raise DktError("its description is missing")
    return content["info"]


def _short(value: object) -> str:
    """The first line of a value as it reads in a message."""
    return (str(value).splitlines() or [""])[0][:_LONGEST]


def _checked_state(info: ModelInfo, state: Any) -> dict[str, torch.Tensor]:
    """The weights, if they are those of the network that is described; nothing large is made to find out.

    Raises:
        DktError: they are not.
    """
    for values in (state, info.matrices):
        if not isinstance(values, dict) or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in values.items()
        ):
            raise DktError("its weights are missing")
    if any(matrix.ndim != 2 for matrix in info.matrices.values()):
        raise DktError("a matrix of its features is none")
    if min(info.feature_dim, info.num_pdfs) < 1 or min(info.left_context, info.right_context) < 0:
        raise DktError("its dimensions are impossible")
    layers = info.network.get("layers", info.network.get("hidden_layers", 1))
    # Each has weights, one tensor at least: otherwise building the layers alone would take for ever.
    if not isinstance(layers, int) or layers > len(state):
        raise DktError(f"it claims {_short(layers)} layers and holds {len(state)} tensors")
    with torch.device("meta"):
        expected = build_network(info, state).state_dict()
    for name, tensor in expected.items():
        found = tuple(state[name].shape) if name in state else None
        if found != tuple(tensor.shape):
            raise DktError(f"'{name}' has shape {found}, expected {tuple(tensor.shape)}")
    return state
