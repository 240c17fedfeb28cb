"""``dkt make-soft-targets [options] <model> <data-dir or features-rspecifier> <targets-dir>``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.devices import add_device_options, choose_device
from dkt.bin.common.options import (
    Number,
    Numbers,
    add_max_dropped,
    add_nnet3_options,
    add_speaker_inputs,
    add_steal_lock,
    add_top_k,
    nnet3_options,
    speaker_inputs,
)


def _temperatures(text: str) -> tuple[float, ...]:
    return Numbers(ranges.TEMPERATURE, least=0, distinct=True)(text.replace(",", " "))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_top_k(parser, "posteriors kept per frame, or all")
    parser.add_argument(
        "--temperatures", type=_temperatures, default="1 2 5", help="where the mass of the rest is computed"
    )
    parser.add_argument(
        "--ensemble",
        type=str.split,
        default=[],
        metavar="MODELS",
        help="further teachers, files or directories: the mean of all posteriors is kept",
    )
    parser.add_argument("--num-jobs", type=Number(ranges.JOBS), default=1, help="jobs that share the work")
    parser.add_argument(
        "--job",
        type=Number(ranges.JOBS, words=("begin", "end")),
        default=None,
        help="one part of the work: 'begin' writes the header, 1 to --num-jobs the targets of their data, "
        "'end' joins them; without it all is done here",
    )
    add_nnet3_options(parser)
    add_speaker_inputs(parser)
    add_max_dropped(parser)
    add_steal_lock(parser)
    add_device_options(parser)
    parser.add_argument(
        "model", help="the teacher: final.pt, or a network of Kaldi's nnet3, or the directory of either"
    )
    parser.add_argument("features", help="a data directory, or an rspecifier of features after CMVN")
    parser.add_argument("targets_dir")


def run(args: argparse.Namespace) -> None:
    """Run the teacher, or the part of the work that is asked for."""
    from dkt.base.directory_kinds import Kind, refuse_other_kinds
    from dkt.base.directory_lock import LOCK, hold_directory

    refuse_other_kinds(args.targets_dir, Kind.TARGETS)
    # Jobs share the directory, each with files of its own.
    name = f".job{args.job}{LOCK}" if args.job not in (None, "begin", "end") else LOCK
    with hold_directory(args.targets_dir, "dkt make-soft-targets", args.steal_lock, name):
        _run_part(args)


def _check_arguments(args: argparse.Namespace) -> None:
    """Look at the arguments before PyTorch is loaded and a GPU is chosen."""
    from dkt.bin.common.network_arguments import check_model, check_source
    from dkt.nnet.nnet3.directory import has_nnet3_network, network_file
    from dkt.targets.header import check_choice

    models = (args.model, *args.ensemble)
    headers = {model: check_model(model) for model in models}
    others = [model for model, found in headers.items() if found is None]
    for model in others:
        if not has_nnet3_network(network_file(model)):
            raise DktError(
                "is not a model file of dkt, nor a network of nnet3",
                path=model,
                hint="give the teacher's final.pt, or the final.mdl or final.raw of nnet3",
            )
    if not others:
        nnet3_options(args).refuse(args.model)
    header = headers[args.model]
    check_source(args.features, speaker_inputs(args), header)
    if isinstance(args.job, int) and args.job > args.num_jobs:
        raise DktError(f"--job is {args.job}, and --num-jobs {args.num_jobs}")
    if header is not None:
        num_pdfs = header.info["num_pdfs"]
        check_choice(num_pdfs, args.top_k.of(num_pdfs), args.temperatures)


def _run_part(args: argparse.Namespace) -> None:
    if args.job != "end":
        _check_arguments(args)

    from dkt.base.tally import Tally
    from dkt.feat.pipeline import FeatureOptions
    from dkt.feat.reader import read_features
    from dkt.nnet.ensemble import Ensemble
    from dkt.nnet.forward import forward
    from dkt.nnet.scorer import OutputOptions
    from dkt.targets.store import SoftTargetWriter, begin, finish
    from dkt.targets.teacher_network import load_teacher, target_header

    if args.job == "end":
        finish(args.targets_dir)
        return
    device = choose_device(args)
    names = [args.model, *args.ensemble]
    teachers = [load_teacher(name, nnet3_options(args), device) for name in names]
    scorer = Ensemble([teacher.scorer for teacher in teachers], names)
    header = target_header(teachers, args.top_k, args.temperatures)
    if args.job == "begin":
        begin(args.targets_dir, header, args.num_jobs)
        return
    job: int | None = args.job
    tally = Tally("soft targets", args.max_dropped)
    pipeline = scorer.pipeline or FeatureOptions()
    features = read_features(args.features, pipeline, tally, speaker_inputs(args))
    with SoftTargetWriter(args.targets_dir, header, job) as writer:
        forward(scorer, features, OutputOptions(apply_log=True), writer, args.features, tally)
