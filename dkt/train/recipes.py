"""The configuration of a training: one class for each kind of network, made of the class of the network."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import yaml

from dkt.base import ranges
from dkt.base.config import load_config, read_yaml
from dkt.base.errors import DktError
from dkt.base.yaml_text import parse_yaml
from dkt.dataset.utterances import Utterances
from dkt.nnet.network import FrameNetwork, SequenceNetwork
from dkt.nnet.networks import NETWORKS, check_kind, network_class
from dkt.train.feature_config import FeatureConfig, SplicedFeatureConfig
from dkt.train.loop import LoopConfig
from dkt.train.masking import MaskingConfig
from dkt.train.modes import ObjectiveConfig
from dkt.train.optimizer import OptimizerConfig
from dkt.train.schedule import FineTuningConfig, ScheduleConfig
from dkt.validate.data_facts import DataFacts, check_reach

#: The key of the section ``network`` that names its kind.
TYPE = "type"


@dataclass
class FrameOptimizerConfig(OptimizerConfig):
    """How weights are updated by mini-batches of shuffled frames.

    Attributes:
        minibatch_size: frames per mini-batch.
    """

    minibatch_size: Annotated[int, ranges.MINIBATCH] = 256


@dataclass
class BatchConfig:
    """How sequences become batches.

    Attributes:
        kind: streams: chunks of utterances side by side, their state carried on (truncated back-propagation
            through time); utterances: whole utterances of nearly one length; chunks: chunks by themselves,
            between frames that the network only sees.
        num_streams: of streams and chunks: rows of a batch.
        chunk: of streams and chunks: about how many frames of an utterance are in a batch.
        frames_per_batch: of utterances: the most frames of a batch.
        chunk_left_context, chunk_right_context: of chunks: the frames on each side that are only seen.
    """

    kind: Annotated[str, ranges.OneOf("streams", "utterances", "chunks")] = "streams"
    num_streams: Annotated[int, ranges.STREAMS] = 16
    chunk: Annotated[int, ranges.CHUNK] = 20
    frames_per_batch: Annotated[int, ranges.BATCH_FRAMES] = 2000
    chunk_left_context: Annotated[int, ranges.CHUNK_CONTEXT] = 20
    chunk_right_context: Annotated[int, ranges.CHUNK_CONTEXT] = 20

    @property
    def frames_per_update(self) -> int:
        """About how many frames an update of the weights learns."""
        return self.frames_per_batch if self.kind == "utterances" else self.num_streams * self.chunk


@dataclass
class Recipe:
    """What the trainings of all networks are configured by.

    ``schedule`` is that of fresh weights, ``fine_tuning`` that of a training which begins from others.

    Attributes:
        kind: of the network, a name of ``NETWORKS``.
    """

    features: FeatureConfig
    network: Any
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    fine_tuning: FineTuningConfig
    training: LoopConfig
    masking: MaskingConfig

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        guided = self.objective.guided_layer
        number = getattr(self.network, "hidden_layers", getattr(self.network, "layers", None))
        if self.objective.needs_hint and guided is not None and number is not None and guided > number:
            raise DktError(
                f"'objective.guided_layer' is {guided}, but the network has {number} hidden "
                f"layer{'s' if number > 1 else ''}"
            )
        if self.fine_tuning.dropout is not None and not hasattr(self.network, "dropout"):
            raise DktError(f"'fine_tuning.dropout' is set, but a {self.kind} has no dropout")

    @property
    def splice(self) -> int:
        """Frames of context on each side that are spliced."""
        return 0

    def check_transform(self, transform: np.ndarray | None, ivector_dim: int, path: Path) -> None:
        """Make sure that the fixed transform of a model is the one that the configuration names.

        Args:
            transform: of the model that the training begins from, see ``Network.transform``.
            ivector_dim: I, which pass through it.
            path: of the model.

        Raises:
            DktError: it is another one.
        """

    def make_lda(self, train: Utterances, ivector_dim: int, num_pdfs: int) -> np.ndarray | None:
        """The linear transform of spliced features, see ``SplicedFeatureConfig``; None for none."""
        return None

    @property
    def frames_per_update(self) -> int:
        """About how many frames an update of the weights learns."""
        raise NotImplementedError

    def check_data(self, facts: DataFacts) -> None:
        """Raise DktError if the configuration does not go with the data that are to be trained on."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The whole configuration as plain values, which ``load_recipe`` reads."""
        plain = asdict(self)
        return plain | {"network": {TYPE: self.kind, **plain["network"]}}


@dataclass
class FrameRecipe(Recipe):
    """The configuration of the training of a network on spliced frames."""

    features: SplicedFeatureConfig = field(default_factory=SplicedFeatureConfig)
    network: Any = None
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: FrameOptimizerConfig = field(default_factory=FrameOptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    fine_tuning: FineTuningConfig = field(default_factory=lambda: FineTuningConfig(learn_rate=0.004))
    training: LoopConfig = field(default_factory=LoopConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)

    @property
    def splice(self) -> int:
        """As ``Recipe.splice``."""
        return self.features.splice

    def check_transform(self, transform: np.ndarray | None, ivector_dim: int, path: Path) -> None:
        """As ``Recipe.check_transform``."""
        self.features.check_transform(transform, ivector_dim, path)

    def make_lda(self, train: Utterances, ivector_dim: int, num_pdfs: int) -> np.ndarray | None:
        """As ``Recipe.make_lda``."""
        return self.features.make_lda(train, ivector_dim, num_pdfs)

    @property
    def frames_per_update(self) -> int:
        """As ``Recipe.frames_per_update``."""
        return self.optimizer.minibatch_size

    def check_data(self, facts: DataFacts) -> None:
        """As ``Recipe.check_data``."""
        check_reach(self.features.splice, "features.splice", facts)
        self.features.check_lda(facts)


@dataclass
class SequenceRecipe(Recipe):
    """The configuration of the training of a network on sequences."""

    features: FeatureConfig = field(default_factory=FeatureConfig)
    network: Any = None
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    batches: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adam", max_grad_norm=5.0))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(learn_rate=0.001))
    fine_tuning: FineTuningConfig = field(default_factory=lambda: FineTuningConfig(learn_rate=0.0005))
    training: LoopConfig = field(default_factory=LoopConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        network = cast(type[SequenceNetwork], network_class(self.kind))
        if self.batches.kind not in network.batch_kinds:
            raise DktError(
                f"'batches.kind' is {self.batches.kind}: {network.no_streams}",
                hint=f"choose {' or '.join(network.batch_kinds)}",
            )

    @property
    def target_delay(self) -> int:
        """Frames that the network sees beyond the frame that it labels."""
        return int(getattr(self.network, "target_delay", 0))

    @property
    def frames_per_update(self) -> int:
        """As ``Recipe.frames_per_update``."""
        return self.batches.frames_per_update

    def check_data(self, facts: DataFacts) -> None:
        """As ``Recipe.check_data``."""
        check_reach(self.target_delay, "network.target_delay", facts)


def recipe_class(kind: str) -> type[Recipe]:
    """The class of the configuration of a kind of network.

    Raises:
        DktError: there is no such kind of network.
    """
    network: Any = network_class(kind)
    return _recipe_class(kind, network)


# A name may get another class, in a session of Python.
@functools.cache
def _recipe_class(kind: str, network: Any) -> type[Recipe]:
    of_network: list[Any] = [("network", network.Config, field(default_factory=network.Config))]
    if issubclass(network, FrameNetwork):
        base: type[Recipe] = FrameRecipe
    else:
        base = SequenceRecipe
        default = cast(type[SequenceNetwork], network).batch_kinds[0]
        of_network.append(("batches", BatchConfig, field(default_factory=lambda: BatchConfig(default))))
    name = f"{kind.capitalize()}Recipe"
    namespace = {"kind": kind, "__doc__": f"The configuration of the training of a {kind}."}
    return cast(type[Recipe], make_dataclass(name, of_network, bases=(base,), namespace=namespace))


def load_recipe(
    kind: str | None,
    path: str | Path | None,
    overrides: Sequence[str] = (),
    options: Sequence[str] = (),
    values: dict[str, Any] | None = None,
    default_kind: str | None = None,
) -> Recipe:
    """Read the configuration of a training; see ``load_config``.

    Args:
        kind: of the network; None for what ``network.type`` says.
        path: a YAML file, or None for the defaults.
        overrides: ``section.key=value`` settings.
        options: such settings that options of their own gave.
        values: what the file holds, if it was read before.
        default_kind: of the network where neither ``kind`` nor ``network.type`` says it.

    Raises:
        DktError: it is not a configuration of this training, or does not say of which.
    """
    content = values if values is not None else read_yaml(path) if path is not None else {}
    if not isinstance(content.get("network", {}), dict | None):
        # It is told what a section is before it is asked which network it is.
        load_config(recipe_class(kind or default_kind or next(iter(NETWORKS))), path, values=content)
    content, named = _without_type(content)
    settings: list[str] = []
    for setting in overrides:
        rest, chosen = _setting_without_type(setting)
        named = named if chosen is None else chosen
        settings += [] if rest is None else [rest]
    if kind is None:
        named = named or default_kind
        if named is None:
            known = ", ".join(NETWORKS)
            raise DktError("says nothing of the network", path=path, hint=f"network.type is one of {known}")
        try:
            kind = check_kind(named)
        except DktError as error:
            raise DktError(f"'network.{TYPE}': {error}", path=path) from None
    elif named not in (None, kind):
        raise DktError(
            f"'network.type' is {named}, expected {kind}", path=path, hint="dkt train trains any network"
        )
    return load_config(recipe_class(kind), path, settings, options, values=content)


def _without_type(values: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Plain values without the kind of the network, and the kind; None where they do not say it."""
    network = values.get("network")
    if not isinstance(network, dict) or TYPE not in network:
        return values, None
    plain, section = copy.copy(values), copy.copy(network)
    kind = section.pop(TYPE)
    plain["network"] = section
    return plain, kind


def _setting_without_type(setting: str) -> tuple[str | None, Any]:
    """The same of a ``section.key=value`` setting; None in its place if nothing is left."""
    key, _, value = setting.partition("=")
    if key.strip() == f"network.{TYPE}":
        with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
            value = parse_yaml(value)
        return None, value
    if key.strip() != "network":
        return setting, None
    try:
        rest, kind = _without_type({"network": parse_yaml(value)})
    except (yaml.YAMLError, ValueError, RecursionError):
        return setting, None  # told where all settings are
    return (setting, None) if kind is None else (f"network={json.dumps(rest['network'])}", kind)
