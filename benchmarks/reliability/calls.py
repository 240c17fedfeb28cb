"""Bad calls: options with absurd numbers, arguments that name no file, or one of another kind."""

from __future__ import annotations

import argparse
import importlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import lab
from trial import call, complaint

from dkt.bin import COMMANDS

#: No number of any option may be one of these; the others may be within the range of some.
NEVER, SELDOM = ("nan", "inf", "-inf", "x"), ("-1", "0", "1e30", "99999999", "")
#: Keys of configurations with numbers, for --set.
_KEYS = {
    "network": [
        "hidden_layers",
        "hidden_dim",
        "dropout",
        "layers",
        "cells",
        "projection",
        "cell_clip",
        "target_delay",
        "diff_clip",
        "cell_diff_clip",
    ],
    "optimizer": [
        "momentum",
        "l2_penalty",
        "max_grad_norm",
        "minibatch_size",
        "grad_clip",
    ],
    "schedule": [
        "learn_rate",
        "max_iters",
        "min_iters",
        "keep_lr_iters",
        "start_halving_impr",
        "end_halving_impr",
        "halving_factor",
    ],
    "fine_tuning": [
        "learn_rate",
        "max_iters",
    ],
    "objective": [
        "temperature",
        "soft_weight",
        "smoothing",
    ],
    "batches": [
        "num_streams",
        "chunk",
        "frames_per_batch",
    ],
    "training": [
        "seed",
    ],
    "features": [
        "splice",
        "lda_dim",
    ],
}


def trials(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """Make ``times`` bad calls of each kind of every command; gives each and what is wrong with its end."""
    strangers = _strangers(work / "strangers")
    for name in lab.CALLS:
        options = _numbers(name)
        for option in rng.sample(options, min(times, len(options))):
            for value in (rng.choice(NEVER), rng.choice(SELDOM)):
                yield _try(place, work, [*lab.argv(name, work / "out"), f"{option}={value}"], value in NEVER)
        words = lab.argv(name, work / "out")
        for _ in range(times):
            position = rng.choice([n for n, word in enumerate(words) if n and not word.startswith("--")])
            yield _try(place, work, _spoil(words, position, rng.choice(strangers)), False)
    for section, key in ((section, key) for section, keys in _KEYS.items() for key in keys):
        for value in (
            rng.choice((".nan", ".inf", "-.inf", "x", "[1]")),
            rng.choice(("-1", "1e30", "100000000")),
        ):
            name = "train-dnn" if key in ("hidden_layers", "hidden_dim", "splice") else "train-lstm"
            yield _try(
                place,
                work,
                [*lab.argv(name, work / "out"), f"--set={section}.{key}={value}"],
                not value[0].isdigit(),
            )


def _try(place: Path, work: Path, argv: list[str], must_fail: bool) -> tuple[str, str | None]:
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    outcome = call(argv, place)
    shown = " ".join(word for word in argv if word not in lab.CPU)
    return f"dkt {shown.replace(str(work), '')}"[:300], complaint(outcome, must_fail)


def _numbers(name: str) -> list[str]:
    """The options of a command whose values are numbers: those whose type refuses a word."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"dkt.bin.{COMMANDS[name][0]}").add_arguments(parser)
    found = []
    for action in parser._actions:
        if action.option_strings and callable(action.type) and action.type is not str:
            try:
                action.type("1")
                action.type("x")
            except Exception:
                found.append(action.option_strings[-1])
    return [option for option in found if not _is_boolean(parser, option)]


def _is_boolean(parser: argparse.ArgumentParser, option: str) -> bool:
    return isinstance(parser._option_string_actions[option].default, bool)


def _strangers(place: Path) -> list[str]:
    """Files and names that belong nowhere."""
    (place / "folder").mkdir(parents=True, exist_ok=True)
    (place / "empty").write_bytes(b"")
    (place / "noise").write_bytes(random.Random(0).randbytes(5000))
    (place / "text").write_text("neither here nor there\n" * 3)
    (place / "zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (place / "dangling").unlink(missing_ok=True)
    (place / "dangling").symlink_to("nowhere")
    paths = [str(place / name) for name in ("folder", "empty", "noise", "text", "zip", "dangling", "missing")]
    return [
        *paths,
        "",
        "ark:",
        "scp:",
        "ark:exit 3 |",
        "ark,t,x:-",
        "a\nb",
        "/dev/null",
        str(place / "text/below"),
    ]


def _spoil(words: list[str], position: int, stranger: str) -> list[str]:
    kind, colon, _ = words[position].partition(":")
    if colon and kind.split(",")[0] in ("ark", "scp") and not stranger.startswith(("ark", "scp")):
        stranger = f"{kind}:{stranger}"
    return [*words[:position], stranger, *words[position + 1 :]]
