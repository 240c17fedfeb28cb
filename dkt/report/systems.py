"""The systems that a report compares: experiment directories, those of a name being one system's seeds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dkt.base.config import read_yaml
from dkt.base.errors import DktError
from dkt.base.files import is_there
from dkt.base.spelling import nearest
from dkt.nnet.model_header import read_model_header
from dkt.score.best_wer import lowest, read_scan
from dkt.score.scored_dir import Scoring, parse_best_wer, read_scoring
from dkt.train.dir_info import model_facts
from dkt.train.history import load_history
from dkt.train.network_info import network_facts

#: Where the decode directories of an experiment are unless told otherwise, by the data that were decoded.
DECODED = {"dev": "decode_dev", "test": "decode_test"}
#: Those that systems are tested against unless told otherwise: the paper's question.
REFERENCES = ("lstm-hard", "dnn")
# With fewer, their spread is hardly known.
_FEW_SEEDS = 5
# Directories that a note names.
_NAMED = 3
_SEEDED = re.compile(r"seed([0-9]+)$")


@dataclass(frozen=True)
class Experiment:
    """One experiment directory: of a network, or of a GMM.

    Attributes:
        system: the name of what it is a run of.
        directory: of a model, with its decode directories.
        seed: of its training; None where nothing tells one.
        num_params: of the model; None where it is not there, or of a kind whose size is not known.
        history: its learning curve, a dict per epoch; empty where there is none.
        scored: what of the data was decoded and scored, by ``dev`` and ``test``.
    """

    system: str
    directory: Path
    seed: int | None
    num_params: int | None
    history: Sequence[Mapping[str, float]]
    scored: Mapping[str, Scoring]

    @property
    def kept(self) -> Mapping[str, float] | None:
        """The epoch whose weights were kept."""
        return next((row for row in reversed(self.history) if row["accepted"]), None)

    def __str__(self) -> str:
        return self.system if self.seed is None else f"{self.system}, seed {self.seed}"


@dataclass(frozen=True)
class System:
    """Runs of one name, which differ by their seeds."""

    name: str
    runs: Sequence[Experiment]

    @property
    def seeds(self) -> list[int] | None:
        """The seeds of the runs; None where they do not tell the runs apart."""
        seeds = [run.seed for run in self.runs if run.seed is not None]
        return seeds if len(set(seeds)) == len(self.runs) else None

    @property
    def network(self) -> Experiment | None:
        """The first run that has a network of dkt's."""
        return next((run for run in self.runs if (run.directory / "final.pt").is_file()), None)


def named_directories(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """Names and directories of arguments ``name=directory``, the directory perhaps a pattern as of a shell.

    Raises:
        DktError: an argument is none, a pattern fits nothing, or a directory stands there twice for one name.
    """
    named: list[tuple[str, Path]] = []
    for text in arguments:
        name, equals, place = text.partition("=")
        if not equals or not name.strip() or not name.isprintable() or not place:
            raise DktError(f"'{text}': expected system=exp-dir", hint="for example dnn=exp/dnn")
        named += [(name, directory) for directory in _directories(Path(place))]
    for (name, path), count in Counter((name, path.resolve()) for name, path in named).items():
        if count > 1:
            raise DktError(f"is given twice for '{name}'", path=path, hint="name each directory once")
    return named


def _directories(place: Path) -> list[Path]:
    """A directory, or those that a pattern fits: a shell leaves alone what stands behind ``name=``."""
    if place.exists() or not re.search(r"[*?[]", str(place)):
        return [place]
    base = Path(place.anchor)
    found = sorted(base.glob(str(place.relative_to(base))))
    if not found:
        raise DktError("no directory has such a name", path=place, hint="run the stage that makes it")
    return found


def listed(places: Sequence[Path]) -> str:
    """Directories as a note names them."""
    rest = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return ", ".join(map(str, places[:_NAMED])) + rest


def load_systems(
    named: Iterable[tuple[str, Path]], notes: list[str], decoded: Mapping[str, str] = DECODED
) -> list[System]:
    """Read experiment directories.

    Args:
        named: names and directories, the same name for several seeds.
        notes: what is missing is added.
        decoded: the names of the decode directories.

    Returns:
        The systems in the order in which their names first stand there.

    Raises:
        DktError: a directory does not exist, or a file in it is damaged.
    """
    runs: dict[str, list[Experiment]] = {}
    for name, directory in named:
        runs.setdefault(name, []).append(_load_run(name, directory, decoded))
    systems = [System(name, of_name) for name, of_name in runs.items()]
    all_runs = [run for system in systems for run in system.runs]
    _tell_missing(all_runs, decoded, notes)
    _tell_choice_on_test(all_runs, notes)
    _tell_few_seeds(systems, notes)
    for system in systems:
        if len(system.runs) > 1 and system.seeds is None:
            notes.append(f"{system.name}: seeds do not tell its {len(system.runs)} directories apart")
    return systems


def _load_run(system: str, directory: Path, decoded: Mapping[str, str]) -> Experiment:
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise DktError(what, path=directory, hint="run the stage that makes it")
    path = directory / "history.csv"
    history = load_history(path) if path.exists() else []
    scored = {}
    for part, name in decoded.items():
        scoring = _load_scoring(directory / name)
        if scoring is not None:
            scored[part] = scoring
    return Experiment(system, directory, _seed(directory), _num_params(directory), history, scored)


def _tell_missing(runs: Sequence[Experiment], decoded: Mapping[str, str], notes: list[str]) -> None:
    # A GMM has no learning curve.
    lacking = {
        "no learning curve (history.csv)": [
            run for run in runs if not run.history and (run.directory / "config.yaml").exists()
        ]
    }
    for part, name in decoded.items():
        lacking[f"{name} is not there, or not scored"] = [run for run in runs if part not in run.scored]
    for what, of_runs in lacking.items():
        if of_runs:
            notes.append(f"{what}: {listed([run.directory for run in of_runs])}")


def _tell_choice_on_test(runs: Sequence[Experiment], notes: list[str]) -> None:
    """Tell where the best word error rate of test is that of a point that was chosen on test."""
    chosen = [
        run.scored["test"].path
        for run in runs
        if "test" in run.scored and len(list(run.scored["test"].path.glob("wer_[0-9]*"))) > 1
    ]
    if chosen:
        notes.append(
            "test was scored at several LM weights or penalties, and the best was chosen on test itself: "
            f"choose on dev, as local/decode_dev_then_test.sh does ({listed(chosen)})"
        )


def _tell_few_seeds(systems: Sequence[System], notes: list[str]) -> None:
    """Tell where little is known of how trainings differ."""
    counts = [len(system.runs) for system in systems if any(run.seed is not None for run in system.runs)]
    if counts and min(counts) == 1:
        notes.append("of systems with one seed, intervals and p tell nothing of other trainings")
    elif counts and min(counts) < _FEW_SEEDS:
        notes.append(
            f"{min(counts)} seeds: how much trainings differ is known roughly, so are intervals and p"
        )


def _load_scoring(directory: Path) -> Scoring | None:
    scoring = read_scoring(directory)
    if scoring is not None or not any(path.stat().st_size for path in directory.glob("wer_[0-9]*")):
        return scoring
    # Kaldi's older scripts leave only the grid.
    best = parse_best_wer(lowest(read_scan(directory)).line)
    return None if best is None else Scoring(directory, best, None, None, None)


def _seed(directory: Path) -> int | None:
    path = directory / "config.yaml"
    if path.exists():
        content = read_yaml(path)
        section = content.get("training", content)
        seed = section.get("seed") if isinstance(section, dict) else None
        if isinstance(seed, int):
            return seed
    found = _SEEDED.search(directory.name)
    return int(found[1]) if found else None


def _num_params(directory: Path) -> int | None:
    """The number of parameters of a network of dkt's or of nnet1, or of a GMM with diagonal covariances."""
    if is_there(directory / "final.pt"):
        return read_model_header(directory / "final.pt").num_params
    if any((directory / name).exists() for name in ("final.nnet", "final.raw")):
        return network_facts(directory).get("num_params")
    if not is_there(directory / "final.mdl"):
        return None
    facts = model_facts(directory / "final.mdl")
    # Of each Gaussian a weight, means and variances.
    return facts["num_gauss"] * (2 * facts["dim"] + 1) if facts["model"] == "gmm" else None


def choose_references(systems: Sequence[System], wanted: Sequence[str]) -> list[System]:
    """The systems that others are tested against: ``wanted``, or those of ``REFERENCES`` that are there.

    Raises:
        DktError: one is not among the systems.
    """
    by_name = {system.name: system for system in systems}
    for name in wanted:
        if name not in by_name:
            raise DktError(f"--reference: no system is named '{name}'", hint=nearest(name, by_name))
    chosen = dict.fromkeys(wanted) if wanted else [name for name in REFERENCES if name in by_name]
    return [by_name[name] for name in chosen]
