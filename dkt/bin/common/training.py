"""The commands that train networks: one set of options, whatever the network and the objective."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.devices import add_device_options, choose_device
from dkt.bin.common.flags import add_flag
from dkt.bin.common.options import (
    Number,
    add_cache_dir,
    add_max_dropped,
    add_speaker_inputs,
    add_steal_lock,
    add_top_k,
    hold,
    speaker_inputs,
)
from dkt.targets.top_k import ALL
from dkt.train.modes import mode_names

if TYPE_CHECKING:
    from dkt.targets.teacher import TeachingOptions
    from dkt.train.modes import ObjectiveConfig
    from dkt.train.recipes import Recipe

_FORMS = ("posteriors", "log-posteriors", "logits")
# Options that set a key of the objective.
_OBJECTIVE = ("temperature", "soft_weight", "smoothing")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that trains a network."""
    parser.add_argument("--config", help="YAML; what it leaves out keeps its default")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="overrides it; of several of one key the last",
    )
    parser.add_argument(
        "--mode",
        type=_mode,
        metavar="MODE",
        help=f"what is learnt: {', '.join(mode_names())}; overrides objective.mode",
    )
    parser.add_argument(
        "--temperature", type=Number(ranges.TEMPERATURE), help="T: overrides objective.temperature"
    )
    parser.add_argument(
        "--lambda",
        dest="soft_weight",
        type=Number(ranges.SHARE),
        help="the teacher's weight in interpolate: overrides objective.soft_weight",
    )
    parser.add_argument(
        "--smoothing", type=Number(ranges.NOT_ALL), help="of smooth: overrides objective.smoothing"
    )
    parser.add_argument("--init-model", help="begin from the weights of this final.pt, or its directory")
    _add_teaching(parser)
    add_speaker_inputs(parser, dev=True)
    add_max_dropped(parser)
    add_cache_dir(parser)
    add_steal_lock(parser)
    add_device_options(parser)
    parser.add_argument("data_train")
    parser.add_argument("data_dev", help="for cross-validation")
    parser.add_argument("rest", nargs="+", metavar="ali-train ali-dev exp-dir", help="no ali with --no-ali")


def _mode(text: str) -> str:
    from dkt.train.modes import ModeName, current_name

    try:
        ModeName().check(text, "mode")
    except DktError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return current_name(text)


def _add_teaching(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the teacher")
    group.add_argument("--soft-targets", help="a directory, or an rspecifier of Kaldi's posteriors")
    group.add_argument("--soft-targets-dev", help="those of the dev data, where kept apart")
    group.add_argument(
        "--teacher", help="its directory or final.pt: run now; beside --soft-targets, they must be its"
    )
    group.add_argument("--teacher-data-train", help="data directory with the teacher's features")
    group.add_argument("--teacher-data-dev", help="the same of the dev data")
    add_top_k(group, "posteriors kept of a frame, or all, where archives are read or the teacher is run")
    group.add_argument("--targets-form", choices=_FORMS, help="of Kaldi's matrices (default: posteriors)")
    add_flag(group, "--transition-ids", "Kaldi's Posteriors are of transition-ids, not pdf-ids")
    add_flag(
        group,
        "--shuffle-targets",
        "a control: each frame gets the posteriors of another of its label: objective.shuffle_targets",
    )
    add_flag(group, "--no-ali", "no alignments: the teacher alone labels the data")
    group.add_argument(
        "--hmm-dir", help="with --no-ali: where final.mdl and ali_train_pdf.counts lie (with the teacher)"
    )


def train(args: argparse.Namespace, command: str, kind: str | None) -> None:
    """Train a network.

    Args:
        args: of ``add_training_options``.
        command: the name of the command.
        kind: of the network; None for what the configuration says.

    Raises:
        DktError: bad input.
    """
    # Who is second is told at once, not when PyTorch is there and the data are looked at.
    with hold(args, args.rest[-1], command):
        _train(args, command, kind)


def _train(args: argparse.Namespace, command: str, kind: str | None) -> None:
    from dkt.base.config import read_yaml
    from dkt.base.directory_kinds import Kind, refuse_other_kinds
    from dkt.hmm.alignments import AlignmentDir
    from dkt.util.data_dir import DataDir

    # What is wrong is told before PyTorch is loaded, where it need not be asked, and before a GPU is chosen.
    *alignments, exp_dir = args.rest
    if len(alignments) != (0 if args.no_ali else 2):
        raise DktError("expected <ali-train> <ali-dev> <exp-dir>, or with --no-ali only <exp-dir>")
    config = read_yaml(args.config) if args.config else {}
    recipe = _recipe(args, kind, config) if args.config or args.set else None
    sides = speaker_inputs(args), speaker_inputs(args, "_dev")
    for side in sides:
        side.check()
    refuse_other_kinds(exp_dir, Kind.NETWORK)
    data = DataDir(args.data_train), DataDir(args.data_dev)
    ali_train, ali_dev = [AlignmentDir(path) for path in alignments] or (None, None)

    from dkt.dataset.cache import FOLDER
    from dkt.train.inputs import Sources
    from dkt.train.training import train_network

    recipe = recipe or _recipe(args, kind, config)
    teaching = _teaching(args, recipe.objective)
    sources = Sources(
        *data,
        ali_train,
        ali_dev,
        teaching,
        hmm_dir=Path(args.hmm_dir) if args.hmm_dir else None,
        init_model=Path(args.init_model) if args.init_model else None,
        max_dropped=args.max_dropped,
        side_train=sides[0],
        side_dev=sides[1],
        cache_dir=args.cache_dir,
        cache_otherwise=Path(exp_dir) / FOLDER,
    )
    sources.check(recipe.objective)
    _check_models(teaching, args.init_model)
    recipe.features.check_files()
    train_network(recipe, sources, Path(exp_dir), choose_device(args), args.steal_lock, f"dkt {command}")


def _recipe(args: argparse.Namespace, kind: str | None, config: dict[str, Any]) -> Recipe:
    from dkt.train.modes import ObjectiveConfig
    from dkt.train.recipes import load_recipe

    given = {name: getattr(args, name) for name in ("mode", *_OBJECTIVE)}
    given = {name: value for name, value in given.items() if value is not None}
    if args.shuffle_targets:
        given["shuffle_targets"] = "true"
    overrides = [f"objective.{name}={value}" for name, value in given.items()]
    recipe = load_recipe(kind, args.config, args.set, overrides, config)
    for name in _OBJECTIVE:
        schedule = getattr(recipe.objective, f"{name}_schedule", None)
        if name in given and schedule is not None and schedule.type == "by_epoch":
            option = name.replace("soft_weight", "lambda")
            raise DktError(
                f"--{option} has no effect: objective.{name}_schedule gives a value for each epoch"
            )
        if name in given and name not in recipe.objective.options:
            option = name.replace("soft_weight", "lambda")
            modes = [mode for mode in mode_names() if name in ObjectiveConfig(mode).options]
            raise DktError(f"--{option} is of mode {', '.join(modes)}, not of {recipe.objective.mode}")
    return recipe


def _teaching(args: argparse.Namespace, objective: ObjectiveConfig) -> TeachingOptions:
    from dkt.targets.teacher import TeachingOptions

    return TeachingOptions(
        soft_targets=args.soft_targets,
        soft_targets_dev=args.soft_targets_dev,
        teacher=args.teacher,
        teacher_data_train=args.teacher_data_train,
        teacher_data_dev=args.teacher_data_dev,
        top_k=ALL if objective.needs_logits else args.top_k,
        form=args.targets_form,
        transition_ids=args.transition_ids,
    )


def _check_models(teaching: TeachingOptions, init_model: str | None) -> None:
    """Raise DktError unless the teacher, or what it said, and initial weights can be expected to be there."""
    from dkt.bin.common.network_arguments import check_model
    from dkt.nnet.model_header import read_model_header
    from dkt.targets.store import TargetDir
    from dkt.util.data_dir import DataDir
    from dkt.util.specifiers import parse_rspecifier

    if init_model is not None:
        read_model_header(init_model if not Path(init_model).is_dir() else Path(init_model) / "final.pt")
    if teaching.teacher and teaching.directory:
        check_model(teaching.teacher)
    for directory in filter(None, (teaching.teacher_data_train, teaching.teacher_data_dev)):
        DataDir(directory)
    for source in filter(None, (teaching.soft_targets, teaching.soft_targets_dev)):
        if Path(source).is_dir():
            TargetDir(source).close()
        else:
            parse_rspecifier(source)
