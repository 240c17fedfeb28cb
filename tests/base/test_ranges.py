"""Ranges: no number of a configuration, an option or an option file that is not checked."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import io
import math
import re
import typing

import pytest

from dkt.base import ranges
from dkt.base.config import load_config
from dkt.base.errors import DktError
from dkt.base.ranges import Range, real_number, whole_number
from dkt.bin import COMMANDS, main
from dkt.bin.common.kaldi_options import add_standard_options
from dkt.bin.common.options import Number, Numbers, top_k
from dkt.feat.extraction import FeatureExtractor
from dkt.feat.pipeline import parse_options
from dkt.hmm.counts import read_real
from dkt.nnet.networks import NETWORKS
from dkt.train.recipes import recipe_class
from dkt.util.object_io import ObjectReader
from dkt.util.option_text import boolean

# --- the ranges themselves ---


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "text"),
    [
        (ranges.SHARE, [0, 0.0, 1.0], [-1e-9, 1.001], "a number from 0 to 1"),
        (ranges.NOT_ALL, [0.0, 0.999], [1.0], "a number from 0 to below 1"),
        (ranges.REDUCTION, [1e-9, 1.0], [0.0], "a number above 0, at most 1"),
        (ranges.SECONDS_A_FRAME, [0.01], [0.0, 10.0], "a number above 0, below 10 (seconds)"),
        (ranges.whole(1, 5), [1, 5], [0, 6, 2.0, True], "an integer from 1 to 5"),
    ],
)
def test_bounds(allowed, inside, outside, text):
    assert str(allowed) == text
    for value in inside:
        allowed.check(value, "x")
    for value in [*outside, math.nan, math.inf, -math.inf, "1", None, 10**5000]:
        with pytest.raises(DktError, match=r"'x' is .*, expected"):
            allowed.check(value, "x")


def test_texts_are_read_strictly():
    assert ranges.SHARE.parse("1e-3") == 0.001 and ranges.SHARE.parse(" .5 ") == 0.5
    assert ranges.whole(-5, 5).parse("-3") == -3 and type(ranges.whole(0, 5).parse("+3")) is int
    for text in ("", "nan", "inf", "1_0", "0x1", "1e999", "٣", "1 2", "1e", "true", "9" * 400):
        for allowed in (ranges.FACTOR, ranges.COUNT):
            with pytest.raises(ValueError, match="expected a"):
                allowed.parse(text)


# --- configurations ---


def config_numbers(cls: type, where: str = "") -> typing.Iterator[tuple[str, object]]:
    """The place and the annotation of every number of a configuration."""
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        place = f"{where}.{name}" if where else name
        if dataclasses.is_dataclass(hint):
            yield from config_numbers(typing.cast(type, hint), place)
            continue
        plain = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
        kinds = typing.get_args(plain) or (plain,)
        if int in kinds or float in kinds:
            yield place, hint


NUMBERS = [(recipe, *number) for recipe in map(recipe_class, NETWORKS) for number in config_numbers(recipe)]


def beyond(allowed: Range) -> list[float]:
    step = 1 if allowed.whole else 1e-3 * max(1.0, abs(allowed.high))
    over = allowed.high if allowed.below else allowed.high + step
    return [allowed.low if allowed.above else allowed.low - step, over, 10**30, -(10**30)]


def test_the_walk_finds_the_numbers():
    places = {place for _, place, _ in NUMBERS}
    assert {"features.splice", "fine_tuning.learn_rate", "network.cell_clip", "training.seed"} <= places
    assert len(NUMBERS) > 35


@pytest.mark.parametrize(("recipe", "place", "hint"), NUMBERS, ids=[place for _, place, _ in NUMBERS])
def test_every_number_of_a_configuration_has_a_range(recipe, place, hint):
    assert typing.get_origin(hint) is typing.Annotated, f"{place} has no range"
    (allowed,) = (extra for extra in typing.get_args(hint) if isinstance(extra, Range))
    for value in [".nan", ".inf", "-.inf", "nan", *beyond(allowed), "true", "'x'", "[1]"]:
        message = f"'{place}' is .*, expected {re.escape(str(allowed))}"
        with pytest.raises(DktError, match=message) as error:
            load_config(recipe, None, [f"{place}={value}"])
        assert "\n" not in str(error.value) and len(str(error.value)) < 300


# --- options ---


def parsers() -> typing.Iterator[tuple[str, argparse.ArgumentParser]]:
    for name, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"dkt {name}", allow_abbrev=False)
        importlib.import_module(f"dkt.bin.{module}").add_arguments(parser)
        add_standard_options(parser)
        yield name, parser


OPTIONS = [
    (name, action.option_strings[-1], action)
    for name, parser in parsers()
    for action in parser._actions
    if action.option_strings
]
#: Options that are texts, whatever stands in them, and have a type of their own.
TEXTS = {"--exclude-words", "--cache-dir", "--ensemble"}


def test_every_option_of_a_number_has_a_range():
    """A type of Python's takes NaN, infinity and underscores: ``Number`` and ``Numbers`` do not."""
    for command, option, action in OPTIONS:
        assert action.type not in (int, float, complex), f"dkt {command} {option} has no range"
        if action.type is None:
            assert not isinstance(action.default, (int, float)) or isinstance(action.default, bool), (
                f"dkt {command} {option} is a number without a type"
            )
        elif action.type is not boolean and option not in TEXTS:
            for text in ("nan", "inf", "-inf", "1e999", "-1e999", "1_0", "x" * 500):
                with pytest.raises(argparse.ArgumentTypeError) as error:
                    action.type(text)
                assert len(str(error.value)) < 2000, f"dkt {command} {option}"


def test_every_option_refuses_what_is_outside_and_takes_its_default():
    count = 0
    for command, option, action in OPTIONS:
        if not isinstance(action.type, (Number, Numbers)):
            continue
        count += 1
        for value in beyond(action.type.allowed):
            text = str(value) if action.type.allowed.whole else repr(float(value))
            with pytest.raises(argparse.ArgumentTypeError):
                action.type(text)
        if isinstance(action.default, str):
            action.type(action.default)
        elif action.default is not None and isinstance(action.type, Number):
            assert action.default in action.type.allowed, f"dkt {command} {option}"
    assert count > 60


@pytest.mark.parametrize(
    "arguments",
    [
        ["forward", "--prior-floor=nan", "m", "f", "w"],
        ["forward", "--prior-floor=-1", "m", "f", "w"],
        ["forward", "--num-threads=0", "m", "f", "w"],
        ["latgen", "--max-mem=-1", "m", "g", "l", "w"],
        ["latgen", "--acoustic-scale=nan", "m", "g", "l", "w"],
        ["latgen", "--lattice-beam=-3", "m", "g", "l", "w"],
        ["latgen", "--hash-ratio=nan", "m", "g", "l", "w"],
        ["decode-faster-mapped", "--beam=-1", "m", "g", "l", "w"],
        ["lattice-best-path", "--lm-scale=nan", "l"],
        ["lattice-scan", "--lmwts=7 inf", "l", "w", "d"],
        ["align", "--nj=0", "d", "l", "m", "a"],
        ["align", "--nj=99999999", "d", "l", "m", "a"],
        ["align", "--self-loop-scale=-1", "d", "l", "m", "a"],
        ["train-mono", "--realign-iters=1 0", "d", "l", "e"],
        ["train-mono", "--seed=-1", "d", "l", "e"],
        ["train-mono", "--delta-opts=--delta-order=1000", "d", "l", "e"],
        ["feats", "--splice-opts=--left-context=101", "d"],
        ["feats", "--online-cmvn-opts=--cmn-window=0", "d"],
        ["train-lstm", "--temperature=nan", "t", "d", "a", "b", "e"],
        ["train-lstm", "--lambda=1.5", "t", "d", "a", "b", "e"],
        ["train-lstm", "--top-k=0", "t", "d", "a", "b", "e"],
        ["train-dnn", "--max-dropped=1.5", "t", "d", "a", "b", "e"],
        ["make-soft-targets", "--temperatures=1 nan", "m", "f", "d"],
        ["prepare-lang", "--sil-prob=1", "d", "o", "l"],
        ["acc-lda", "--silence-phones=1:-2", "m", "f", "p", "o"],
        ["feats", "--compression-method=8", "d"],
        ["mkgraph", "--transition-scale=inf", "l", "m", "g"],
        ["compute-fbank-feats", "--sample-frequency=nan", "scp:w", "ark:f"],
        ["check", "--verbose=1e3", "d"],
    ],
)
def test_a_wrong_number_is_told_before_anything_is_read(capsys, arguments):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    option = arguments[1].partition("=")[0]
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"dkt {arguments[0]}: error: argument {option}: " in last and "expected a" in last


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "nan", "", "most"])
def test_top_k(text):
    with pytest.raises(argparse.ArgumentTypeError, match="and no 'all'"):
        top_k(text)


# --- numbers inside Kaldi's option lines and files ---


@pytest.mark.parametrize(
    ("line", "defaults"),
    [
        ("--delta-order=1000", {"delta_order": 2}),
        ("--delta-order=nan", {"delta_order": 2}),
        ("--delta-window=0", {"delta_window": 2}),
        ("--left-context=99999999999999999999", {"left_context": 4}),
        ("--cmn-window=0", {"cmn_window": 600}),
        ("--skip-dims=1:-2", {"skip_dims": ()}),
    ],
)
def test_numbers_of_option_lines(line, defaults):
    name = line.partition("=")[0]
    with pytest.raises(DktError, match=f"exp/opts: '{line}': argument {name}: expected an integer from"):
        parse_options(line, "exp/opts", **defaults)


def test_every_number_of_a_feature_configuration_has_a_range():
    for name, allowed in ranges.KALDI.items():
        for text in ("nan", "inf", "x", "1e999", *(str(value) for value in beyond(allowed))):
            with pytest.raises(ValueError, match="expected a"):
                ranges.kaldi_number(name, text)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("fbank", {"num-mel-bins": "nan"}, "--num-mel-bins=nan: expected an integer from 3 to 1000"),
        ("fbank", {"frame-shift": "0"}, "--frame-shift=0: expected a number above 0"),
        (
            "fbank",
            {"frame-shift": "0.01"},
            "--frame-shift=0.01: at --sample-frequency=16000 less than 1 samples",
        ),
        ("fbank", {"frame-length": "0.05"}, "--frame-length=0.05: at"),
        ("fbank", {"low-freq": "9000"}, "impossible options: .*low-freq 9000"),
        ("mfcc", {"num-ceps": "40"}, "impossible options: .*num-ceps"),
        ("mfcc", {"dither": "inf"}, "--dither=inf: expected a number from 0"),
    ],
)
def test_feature_configurations_that_make_no_sense(kind, options, message):
    with pytest.raises(DktError, match=message):
        FeatureExtractor(kind, options)


ODD_NUMBERS = (
    "1_0",
    "0_1.5",
    "٣",
    "٠.١",
    "１",
    "nan",
    "inf",
    "1e999",
    "0x10",
    "1,5",
    "",
    " 1",
    "1 ",
    "--1",
    "1e",
    "²",
)


@pytest.mark.parametrize("text", ODD_NUMBERS)
def test_what_is_no_plain_number(text):
    for parse in (whole_number, real_number):
        with pytest.raises(ValueError, match="expected"):
            parse(text)


def test_plain_numbers():
    assert [whole_number(text) for text in ("0", "-3", "+7", "007")] == [0, -3, 7, 7]
    assert [real_number(text) for text in ("16", "-1.5", ".5", "5.", "1e-3", "1E+2")] == [
        16,
        -1.5,
        0.5,
        5,
        1e-3,
        100,
    ]


@pytest.mark.parametrize("word", [b"1_0", "٣".encode()])
def test_numbers_in_kaldi_texts(word):
    with pytest.raises(DktError, match="expected a number"):
        ObjectReader(word + b" ", "x").real()
    with pytest.raises(DktError, match="expected a number"):
        ObjectReader(word + b" ", "x").int32()
    with pytest.raises((DktError, ValueError)):
        read_real(io.BytesIO(word + b"\n"))
    assert read_real(io.BytesIO(b"10\n")) == ObjectReader(b"10 ", "x").real() == 10.0
