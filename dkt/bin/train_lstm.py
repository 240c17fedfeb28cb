"""``dkt train-lstm --mode=soft --soft-targets=D <data-train> <data-dev> <ali-train> <ali-dev> <exp-dir>``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.bin.devices import add_device_options, choose_device
from dkt.bin.options import add_max_loss, top_k
from dkt.errors import DktError

if TYPE_CHECKING:
    from dkt.train.teaching import TeachingOptions

_MODES = ("hard", "soft", "pretrain", "mix", "logits", "conditional", "smooth")
_FORMS = ("posteriors", "log-posteriors", "logits")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--config", help="YAML; what it leaves out keeps its default")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="overrides it"
    )
    parser.add_argument("--mode", choices=_MODES, help="what is learnt: overrides objective.mode")
    parser.add_argument("--temperature", help="T: overrides objective.temperature")
    parser.add_argument("--lambda", dest="soft_weight", help="of mix: overrides objective.soft_weight")
    parser.add_argument("--smoothing", help="of smooth: overrides objective.smoothing")
    parser.add_argument("--init-model", help="begin from the weights of this model file")
    _add_teaching(parser)
    add_max_loss(parser)
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
    group.add_argument(
        "--top-k",
        type=top_k,
        default=20,
        help="posteriors kept of a frame, or all, where archives are read or the teacher is run",
    )
    group.add_argument("--targets-form", choices=_FORMS, default="posteriors", help="of Kaldi's matrices")
    group.add_argument(
        "--transition-ids", action="store_true", help="Kaldi's Posteriors are of transition-ids, not pdf-ids"
    )
    group.add_argument(
        "--no-ali", action="store_true", help="no alignments: the teacher alone labels the data"
    )
    group.add_argument(
        "--hmm-dir", help="with --no-ali: where final.mdl and ali_train_pdf.counts lie (with the teacher)"
    )


def _teaching(args: argparse.Namespace, mode: str) -> TeachingOptions:
    from dkt.train.teaching import TeachingOptions

    return TeachingOptions(
        soft_targets=args.soft_targets,
        soft_targets_dev=args.soft_targets_dev,
        teacher=args.teacher,
        teacher_data_train=args.teacher_data_train,
        teacher_data_dev=args.teacher_data_dev,
        top_k=None if mode == "logits" else args.top_k,
        form=args.targets_form,
        transition_ids=args.transition_ids,
    )


def _overrides(args: argparse.Namespace) -> list[str]:
    names = ("mode", "temperature", "soft_weight", "smoothing")
    given = [(name, getattr(args, name)) for name in names]
    return [*args.set, *(f"objective.{name}={value}" for name, value in given if value is not None)]


def run(args: argparse.Namespace) -> None:
    """Train the LSTM."""
    from dkt.alignments import AlignmentDir
    from dkt.config import load_config
    from dkt.datadir import DataDir
    from dkt.train.inputs import TrainingInputs
    from dkt.train.teaching import open_teaching
    from dkt.train.train_lstm import LstmRecipe, StudentInputs, train_lstm
    from dkt.transitions import load_transition_model

    recipe = load_config(LstmRecipe, args.config, _overrides(args))
    device = choose_device(args)
    *alignments, exp_dir = args.rest
    if len(alignments) != (0 if args.no_ali else 2):
        raise DktError("expected <ali-train> <ali-dev> <exp-dir>, or with --no-ali only <exp-dir>")
    ali_train, ali_dev = [AlignmentDir(path) for path in alignments] or (None, None)
    inputs = TrainingInputs(
        DataDir(args.data_train), DataDir(args.data_dev), ali_train, ali_dev, args.max_loss
    )
    options = _teaching(args, recipe.objective.mode)
    hmm_dir = Path(args.hmm_dir) if args.hmm_dir else options.hmm_dir
    if alignments:
        hmm_dir = Path(alignments[0])
    if options.given:
        data = {"train": inputs.data_train, "dev": inputs.data_dev}
        transitions = load_transition_model(hmm_dir / "final.mdl")
        sources = open_teaching(options, data, recipe.objective.temperature, transitions, device)
        inputs.targets_train, inputs.targets_dev = sources["train"], sources["dev"]
    init_model = Path(args.init_model) if args.init_model else None
    train_lstm(recipe, StudentInputs(inputs, hmm_dir, init_model), Path(exp_dir), device)
