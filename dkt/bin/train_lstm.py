"""``dkt train-lstm --mode=soft --soft-targets=D <data-train> <data-dev> <ali-train> <ali-dev> <exp-dir>``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from dkt.targets.teacher import TeachingOptions
    from dkt.train.train_lstm import LstmRecipe

_MODES = ("hard", "soft", "pretrain", "mix", "logits", "conditional", "smooth")
_FORMS = ("posteriors", "log-posteriors", "logits")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--config", help="YAML; what it leaves out keeps its default")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="overrides it; of several of one key the last",
    )
    parser.add_argument("--mode", choices=_MODES, help="what is learnt: overrides objective.mode")
    parser.add_argument(
        "--temperature", type=Number(ranges.TEMPERATURE), help="T: overrides objective.temperature"
    )
    parser.add_argument(
        "--lambda",
        dest="soft_weight",
        type=Number(ranges.SHARE),
        help="of mix: overrides objective.soft_weight",
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


def _add_teaching(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the teacher")
    group.add_argument("--soft-targets", help="a directory, or an rspecifier of Kaldi's posteriors")
    group.add_argument("--soft-targets-dev", help="those of the cross-validation data, where kept apart")
    group.add_argument(
        "--teacher", help="its directory or final.pt: run now; beside --soft-targets, they must be its"
    )
    group.add_argument("--teacher-data-train", help="data directory with the teacher's features")
    group.add_argument("--teacher-data-dev", help="the same of the cross-validation data")
    add_top_k(group, "posteriors kept of a frame, or all, where archives are read or the teacher is run")
    group.add_argument("--targets-form", choices=_FORMS, help="of Kaldi's matrices (default: posteriors)")
    add_flag(group, "--transition-ids", "Kaldi's Posteriors are of transition-ids, not pdf-ids")
    add_flag(group, "--no-ali", "no alignments: the teacher alone labels the data")
    group.add_argument(
        "--hmm-dir", help="with --no-ali: where final.mdl and ali_train_pdf.counts lie (with the teacher)"
    )


#: Options of the objective, and the modes that read them.
_OBJECTIVE = {
    "temperature": ("soft", "pretrain", "mix", "conditional"),
    "soft_weight": ("mix",),
    "smoothing": ("smooth",),
}


def _teaching(args: argparse.Namespace, mode: str) -> TeachingOptions:
    from dkt.targets.teacher import TeachingOptions

    return TeachingOptions(
        soft_targets=args.soft_targets,
        soft_targets_dev=args.soft_targets_dev,
        teacher=args.teacher,
        teacher_data_train=args.teacher_data_train,
        teacher_data_dev=args.teacher_data_dev,
        top_k=ALL if mode == "logits" else args.top_k,
        form=args.targets_form,
        transition_ids=args.transition_ids,
    )


def _recipe(args: argparse.Namespace) -> LstmRecipe:
    from dkt.base.config import load_config, read_yaml

    if args.config:
        read_yaml(args.config)  # a wrong file is told before PyTorch is loaded
    from dkt.train.train_lstm import LstmRecipe

    given = {name: getattr(args, name) for name in ("mode", *_OBJECTIVE)}
    given = {name: value for name, value in given.items() if value is not None}
    overrides = [f"objective.{name}={value}" for name, value in given.items()]
    recipe = load_config(LstmRecipe, args.config, args.set, overrides)
    for name, modes in _OBJECTIVE.items():
        if name in given and recipe.objective.mode not in modes:
            option = name.replace("soft_weight", "lambda")
            raise DktError(f"--{option} is of mode {', '.join(modes)}, not of {recipe.objective.mode}")
    return recipe


def _hmm_dir(args: argparse.Namespace, alignments: list[str], teaching: TeachingOptions) -> Path:
    if alignments:
        if args.hmm_dir:
            raise DktError("--hmm-dir is of --no-ali: here it is the alignment directory")
        return Path(alignments[0])
    found = Path(args.hmm_dir) if args.hmm_dir else teaching.directory
    if found is None:
        raise DktError(
            "without alignments a directory with final.mdl and ali_train_pdf.counts is needed",
            hint="give the teacher's by --hmm-dir",
        )
    return found


def _check_teaching(teaching: TeachingOptions) -> None:
    """Raise DktError unless the teacher, or what it said, can be expected to be there."""
    from dkt.bin.common.network_arguments import check_model
    from dkt.targets.store import TargetDir
    from dkt.util.data_dir import DataDir
    from dkt.util.specifiers import parse_rspecifier

    if teaching.teacher and teaching.directory:
        check_model(teaching.teacher)
    for directory in filter(None, (teaching.teacher_data_train, teaching.teacher_data_dev)):
        DataDir(directory)
    for source in filter(None, (teaching.soft_targets, teaching.soft_targets_dev)):
        if Path(source).is_dir():
            TargetDir(source).close()
        else:
            parse_rspecifier(source)


def run(args: argparse.Namespace) -> None:
    """Train the LSTM."""
    # Who is second is told at once, not when PyTorch is there and the data are looked at.
    with hold(args, args.rest[-1], "train-lstm"):
        _train(args)


def _train(args: argparse.Namespace) -> None:
    from dkt.base.directory_kinds import Kind, refuse_other_kinds
    from dkt.hmm.alignments import AlignmentDir
    from dkt.util.data_dir import DataDir

    # What is wrong is told before a GPU is chosen and, without a configuration to look at, before PyTorch is
    # loaded.
    *alignments, exp_dir = args.rest
    if len(alignments) != (0 if args.no_ali else 2):
        raise DktError("expected <ali-train> <ali-dev> <exp-dir>, or with --no-ali only <exp-dir>")
    recipe = _recipe(args) if args.config or args.set else None
    for suffix in ("", "_dev"):
        speaker_inputs(args, suffix).check()
    refuse_other_kinds(exp_dir, Kind.NETWORK)
    data = DataDir(args.data_train), DataDir(args.data_dev)
    ali_train, ali_dev = [AlignmentDir(path) for path in alignments] or (None, None)

    from dkt.dataset.cache import FOLDER
    from dkt.train.inputs import TrainingInputs
    from dkt.train.train_lstm import StudentInputs, check_inputs, train_lstm

    recipe = recipe or _recipe(args)
    teaching = _teaching(args, recipe.objective.mode)
    training = TrainingInputs(
        *data,
        ali_train,
        ali_dev,
        args.max_dropped,
        side_train=speaker_inputs(args),
        side_dev=speaker_inputs(args, "_dev"),
        cache_otherwise=Path(exp_dir) / FOLDER,
        cache_dir=args.cache_dir,
    )
    init_model = Path(args.init_model) if args.init_model else None
    inputs = StudentInputs(training, teaching, _hmm_dir(args, alignments, teaching), init_model)
    check_inputs(recipe.objective, inputs)
    _check_teaching(teaching)
    recipe.features.check_files()
    train_lstm(recipe, inputs, Path(exp_dir), choose_device(args), args.steal_lock)
