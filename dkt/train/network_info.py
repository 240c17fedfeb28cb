"""What the directory of a network tells: its shape, how far its training is, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from dkt.base.config import read_yaml
from dkt.base.errors import DktError
from dkt.base.files import is_there
from dkt.base.sealed import is_torch_file
from dkt.nnet.model_header import ModelHeader, read_checkpoint_header, read_model_header
from dkt.nnet.networks import layers_text
from dkt.train.history import load_history
from dkt.train.modes import OBJECTIVES, PRETRAIN, current_name

# The modes of the two trainings of pretrain, where a configuration says nothing of them.
_PHASES = {"first": "soft", "then": "hard"}
_CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")


def network_facts(directory: Path) -> dict[str, Any]:
    """What the directory of a network holds, without its decode directories; None for what is not known.

    Losses and accuracies are those of the weights that were kept, in nats per frame and in percent.

    Raises:
        DktError: a file of it is damaged, or there is no network.
    """
    model, config = directory / "final.pt", directory / "config.yaml"
    kaldis = next((path for name in ("final.nnet", "final.raw") if (path := directory / name).exists()), None)
    if not is_there(model) and kaldis is not None:
        return _kaldis_facts(kaldis)
    values = read_yaml(config) if config.exists() else {}
    finished = is_there(model)
    if finished:
        facts = _written_facts(model)
    elif config.exists():
        facts = _planned(directory, values)
    else:
        raise DktError("holds no network", path=directory, hint="train it again")
    first = _phases(values.get("objective") or {})[0]
    return facts | _mode(values, config) | {"finished": finished} | _progress(directory, finished, first)


def _written_facts(model: Path) -> dict[str, Any]:
    header = read_model_header(model)
    return _sizes(header.info) | {"num_params": header.num_params}


def _sizes(info: Mapping[str, Any]) -> dict[str, Any]:
    """The kind and shape of a network, from the description in its model file."""
    ivector_dim = info.get("ivector_dim", 0)
    context = info.get("left_context", 0) + 1 + info.get("right_context", 0)
    inputs = (info["feature_dim"] - ivector_dim) * context + ivector_dim
    layers = layers_text(info["network"])
    return {
        "network": info["kind"],
        "shape": "-".join(map(str, filter(None, (inputs, layers, info["num_pdfs"])))),
        "num_pdfs": info["num_pdfs"],
    }


def _planned(directory: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The network of a training that has not ended, from its configuration and its last checkpoint."""
    network, features, derived = (values.get(name) or {} for name in ("network", "features", "derived"))
    splice = features.get("splice", 0)
    info = {
        # Those of earlier times do not say it.
        "kind": network.get("type") or ("dnn" if "hidden_layers" in network else "lstm"),
        "network": network,
        "left_context": splice,
        "right_context": splice,
        **{name: derived[name] for name in ("feature_dim", "num_pdfs", "ivector_dim") if name in derived},
    }
    if not ("feature_dim" in info and "num_pdfs" in info):
        raise DktError(
            "says nothing of the features and pdfs of a training, as those that dkt writes do",
            path=directory / "config.yaml",
        )
    header = _last_checkpoint(directory)
    return _sizes(info) | {"num_params": None if header is None else header.num_params}


def _last_checkpoint(directory: Path) -> ModelHeader | None:
    errors: list[DktError] = []
    for path in (directory / name for name in _CHECKPOINTS):
        if not is_there(path):
            continue
        try:
            return read_checkpoint_header(path)
        except DktError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None


def _phases(objective: Mapping[str, Any]) -> list[str]:
    """The modes of the two trainings of pretrain."""
    return [current_name(str(objective.get(key, name))) for key, name in _PHASES.items()]


def _mode(values: Mapping[str, Any], config: Path) -> dict[str, Any]:
    """What is learnt, and at which temperature."""
    objective = values.get("objective") or {}
    mode = objective.get("mode")
    phases = _phases(objective) if mode == PRETRAIN else [current_name(str(mode))]
    options = [option for phase in phases if phase in OBJECTIVES for option in OBJECTIVES[phase].options]
    temperature = objective.get("temperature")
    if not isinstance(mode, str | None) or not isinstance(temperature, int | float | None):
        raise DktError(f"no objective of dkt: mode '{mode}', temperature '{temperature}'", path=config)
    return {"mode": mode, "temperature": temperature if "temperature" in options else None}


def _progress(directory: Path, finished: bool, first: str = "") -> dict[str, Any]:
    path = directory / "history.csv"
    rows = load_history(path) if path.exists() else []
    kept = next((row for row in reversed(rows) if row["accepted"]), None)
    facts: dict[str, Any] = {"num_epochs": int(rows[-1]["epoch"]) if rows else None if finished else 0}
    if not rows and not finished and first and (directory / first / "config.yaml").exists():
        facts["soft_epochs"] = _progress(directory / first, False)["num_epochs"]
    if kept is not None:
        facts["loss"] = {"train": kept["train_loss"], "cv": kept["cv_loss"]}
        facts["accuracy"] = {"train": kept["train_frame_acc"], "cv": kept["cv_frame_acc"]}
    return facts


def _kaldis_facts(path: Path) -> dict[str, Any]:
    """Of a network that Kaldi trained: of nnet1 its components, of nnet3 only that it is one."""
    if is_torch_file(path):
        return _written_facts(path)
    with path.open("rb") as stream:
        head = stream.read(64)
    if b"<Nnet3>" in head:
        return {"network": "nnet3"}
    from dkt.nnet.nnet1.components import Affine, LstmComponent, read_nnet1

    components = read_nnet1(path)
    if not components:
        raise DktError("the network has no components", path=path)
    # The last layer is the output.
    hidden = [layer.output_dim for layer in components if isinstance(layer, (Affine, LstmComponent))][:-1]
    layers = [f"{len(list(equal))}x{dim}" for dim, equal in groupby(hidden)]
    return {
        "network": "nnet1",
        "shape": "-".join(map(str, (components[0].input_dim, *layers, components[-1].output_dim))),
        "num_pdfs": components[-1].output_dim,
        "num_params": sum(map(_num_weights, components)),
    }


def _num_weights(component: Any) -> int:
    """The numbers in a component of nnet1, each direction of an LSTM counted."""
    number = 0
    for value in vars(component).values():
        if isinstance(value, tuple):
            number += sum(map(_num_weights, value))
        elif getattr(value, "dtype", None) is not None and value.dtype.kind == "f":
            number += value.size
    return number
