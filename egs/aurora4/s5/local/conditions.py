#!/usr/bin/env python3
"""Word error rates of Aurora4 by its 14 test conditions and their groups, from scored decode directories.

Kaldi's recipe ends the utterance-id of a copy with a digit from 0 to 9 or a letter from a to d, for the
conditions 01 to 14.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import replace_file
from dkt.report.systems import named_directories
from dkt.report.table import as_text
from dkt.score.scored_dir import UnitCounts, read_scoring

SUFFIXES = "0123456789abcd"
NOISES = ("car", "babble", "restaurant", "street", "airport", "train")
#: The conditions in the order of the suffixes: of each microphone clean speech, then six noises.
CONDITIONS = tuple(
    f"{number:02d} {what}" for number, what in enumerate(("clean", *NOISES, "clean, mic 2", *NOISES), 1)
)
#: The groups that papers tell, and the conditions of each.
GROUPS = {
    "A (clean)": range(1),
    "B (noise)": range(1, 7),
    "C (mic 2)": range(7, 8),
    "D (noise, mic 2)": range(8, 14),
    "all": range(14),
}
#: Counts by the condition's place in ``CONDITIONS``.
Counts = Mapping[int, UnitCounts]


def condition_of(utt: str, path: Path) -> int:
    """The place of an utterance's condition in ``CONDITIONS``.

    Raises:
        DktError: the utterance-id does not end as those of Kaldi's recipe.
    """
    place = SUFFIXES.find(utt[-1]) if utt else -1
    if place < 0:
        raise DktError(
            f"the utterance-id ends with '{utt[-1:]}', expected the condition, one of {SUFFIXES}",
            path=path,
            utt=utt,
            hint="give data as Kaldi's egs/aurora4/s5 prepares them",
        )
    return place


def count_conditions(decode_dir: Path) -> dict[int, UnitCounts]:
    """Words and errors of each condition that was scored, at the point that ``best_wer`` tells.

    Raises:
        DktError: the directory was not scored, or its details are not there or damaged.
    """
    scoring = read_scoring(decode_dir)
    utterances = None if scoring is None else scoring.utterances()
    if utterances is None:
        raise DktError("has no scoring_kaldi/wer_details/per_utt", path=decode_dir, hint="score it first")
    counts: dict[int, UnitCounts] = {}
    for utt, unit in utterances.items():
        place = condition_of(utt, decode_dir)
        before = counts.get(place, UnitCounts(0, 0))
        counts[place] = UnitCounts(before.words + unit.words, before.errors + unit.errors)
    return counts


def pooled(counts: Counts, places: range) -> UnitCounts:
    """The sum over some conditions, of those that there are."""
    units = [counts[place] for place in places if place in counts]
    return UnitCounts(sum(unit.words for unit in units), sum(unit.errors for unit in units))


def _columns(counts: Counts) -> dict[str, UnitCounts]:
    """By the names of the columns: the groups, then the conditions."""
    groups = {name: pooled(counts, places) for name, places in GROUPS.items()}
    return groups | {name: pooled(counts, range(n, n + 1)) for n, name in enumerate(CONDITIONS)}


def _cell(units: Sequence[UnitCounts]) -> str:
    """The word error rate in percent, of several seeds the mean and the standard deviation."""
    rates = [100.0 * unit.errors / unit.words for unit in units if unit.words]
    if not rates:
        return "-"
    spread = f" ±{statistics.stdev(rates):.2f}" if len(rates) > 1 else ""
    return f"{statistics.mean(rates):.2f}{spread}"


def tables(systems: Mapping[str, Sequence[Counts]]) -> list[str]:
    """Two tables in Markdown, of the groups and of the conditions, a row for each system."""
    rows = {name: [_columns(counts) for counts in runs] for name, runs in systems.items()}
    found = []
    for names in (list(GROUPS), list(CONDITIONS)):
        cells = [[name, *(_cell([run[n] for run in runs]) for n in names)] for name, runs in rows.items()]
        found.append(as_text([["system", *names], *cells]))
    return found


def csv_rows(name: str, named: Sequence[tuple[str, Path]], counts: Sequence[Counts]) -> list[list[str]]:
    """A row for each network, and of it for each group and condition that has words."""
    return [
        [name, system, directory.name, column, str(unit.words), str(unit.errors), _cell([unit])]
        for (system, directory), of_run in zip(named, counts, strict=True)
        for column, unit in _columns(of_run).items()
        if unit.words
    ]


def write_tables(out: Path, decode_dirs: Sequence[str], named: Sequence[tuple[str, Path]]) -> str:
    """Write ``conditions.md`` and ``conditions.csv``.

    Args:
        out: the directory.
        decode_dirs: names of the decode directories in each of those of ``named``, a section each.
        named: names of systems and directories of their networks; the same name for several seeds.

    Returns:
        The Markdown.

    Raises:
        DktError: a decode directory was not scored, or a file cannot be written.
    """
    sections: list[str] = []
    rows = [["set", "system", "run", "condition", "words", "errors", "wer"]]
    for name in decode_dirs:
        counts = [count_conditions(directory / name) for _, directory in named]
        systems: dict[str, list[Counts]] = {}
        for (system, _), of_run in zip(named, counts, strict=True):
            systems.setdefault(system, []).append(of_run)
        told = name.removeprefix("decode_")
        sections += [f"WER on {told} by group of conditions, then by condition:", *tables(systems)]
        rows += csv_rows(told, named, counts)
    text = "\n\n".join(sections) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / "conditions.md", text.encode())
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    replace_file(out / "conditions.csv", stream.getvalue().encode())
    return text


def main() -> int:
    """Write and print the tables; exit status 1 for what was not scored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="for conditions.md and conditions.csv")
    parser.add_argument(
        "--decode", action="append", required=True, metavar="NAME", help="within each exp-dir"
    )
    parser.add_argument("systems", nargs="+", metavar="system=exp-dir")
    args = parser.parse_args()
    try:
        print(write_tables(args.out, args.decode, named_directories(args.systems)), end="")
    except DktError as error:
        print(f"ERROR (conditions.py) {error}", file=sys.stderr)
        return 1
    print(f"by condition: {args.out}/conditions.md, {args.out}/conditions.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
