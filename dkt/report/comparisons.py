"""How sure word error rates of systems are, and whether they differ: intervals, p of paired differences.

R runs, K units of speech (speakers, or utterances), B replications.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.report.systems import Experiment, System, listed
from dkt.score.scored_dir import Scoring, UnitCounts
from dkt.score.significance import (
    DEFAULT_REPLICATIONS,
    DEFAULT_SEED,
    Counts,
    Rates,
    bootstrap_p,
    holm,
    interval,
    mean_rates,
    resample_rates,
    sign_flip_p,
)
from dkt.score.wer_details import NO_WORD

# With fewer, an interval is rough, and no sign-flip test over them can be significant among some comparisons.
_FEW_SPEAKERS = 10


@dataclass(frozen=True)
class Comparison:
    """The paired difference of a system's word error rate to a reference's.

    Attributes:
        part: ``dev`` or ``test``.
        num_seeds: the seeds that both have; 0 where means over different seeds were compared.
        difference: in percent points, below 0 where the system has fewer errors.
        low, high: its 95 % interval.
        p: of no difference, two-sided.
        p_holm: corrected for all comparisons of the report.
    """

    system: str
    reference: str
    part: str
    num_seeds: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float = float("nan")

    def reversed(self) -> Comparison:
        """The same with the two systems in each other's place."""
        return replace(
            self,
            system=self.reference,
            reference=self.system,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
        )


@dataclass(frozen=True)
class Evaluation:
    """What is known of all systems on one part of the data.

    Attributes:
        part: ``dev`` or ``test``.
        unit: ``speakers`` or ``utterances``, over which was resampled.
        units: their names, K.
        words: of the references of each, shape ``(K,)``.
        errors: of each run by its directory, shape ``(K,)``; runs that cannot be compared are left out.
        rates: of each on the resampled units, in percent, shape ``(B,)``.
        seed: of the draws.
    """

    part: str
    unit: str
    units: Sequence[str]
    words: Counts
    errors: Mapping[Path, Counts]
    rates: Mapping[Path, Rates]
    seed: int = DEFAULT_SEED

    def runs(self, system: System) -> list[Experiment]:
        """Those of a system that can be compared."""
        return [run for run in system.runs if run.directory in self.errors]

    def interval(self, runs: Sequence[Experiment]) -> tuple[float, float] | None:
        """The 95 % interval of the mean word error rate of some runs: their seeds are resampled too."""
        known = [run for run in runs if run.directory in self.rates]
        return interval(mean_rates(self._rates(known), self.seed)) if known else None

    def unit_rates(self, system: System) -> Rates:
        """Word error rates of a system on each unit, means over seeds, in percent; NaN without words."""
        words = np.where(self.words > 0, self.words, np.nan)
        return 100.0 * self._errors(self.runs(system)).mean(axis=0) / words

    def _rates(self, runs: Sequence[Experiment]) -> Rates:
        return np.stack([self.rates[run.directory] for run in runs], axis=1)

    def _errors(self, runs: Sequence[Experiment]) -> Counts:
        return np.stack([self.errors[run.directory] for run in runs])

    def compare(self, system: System, reference: System) -> Comparison | None:
        """The paired difference, on the same resampled speakers and over the seeds that both have.

        p is the larger one of two: that of the exact sign-flip test over speakers, on errors summed over the
        seeds; and, where there are several seeds, that of the bootstrap over speakers and seeds. So a
        difference has to hold for other speakers, however few these are, and for other seeds.

        Returns:
            None where one of them has no run that can be compared.
        """
        ours, theirs = self.runs(system), self.runs(reference)
        if not ours or not theirs:
            return None
        common = _common_seeds(system, ours, reference, theirs)
        if common:
            ours, theirs = common
            replicates = mean_rates(self._rates(ours) - self._rates(theirs), self.seed)
            differences = (self._errors(ours) - self._errors(theirs)).sum(axis=0)
        else:
            # Other draws of seeds for the reference: its networks are other ones.
            replicates = mean_rates(self._rates(ours), self.seed) - mean_rates(
                self._rates(theirs), self.seed + 1
            )
            differences = len(theirs) * self._errors(ours).sum(axis=0) - len(ours) * self._errors(theirs).sum(
                axis=0
            )
        scale = len(ours) if common else len(ours) * len(theirs)
        p = sign_flip_p(differences)
        if max(len(ours), len(theirs)) > 1:
            p = max(p, bootstrap_p(replicates))
        return Comparison(
            system.name,
            reference.name,
            self.part,
            len(ours) if common else 0,
            100.0 * float(differences.sum()) / (scale * float(self.words.sum())),
            *interval(replicates),
            p,
        )


def _common_seeds(
    system: System, ours: Sequence[Experiment], reference: System, theirs: Sequence[Experiment]
) -> tuple[list[Experiment], list[Experiment]] | None:
    """The runs of both for each seed that both have; None where there is none."""
    if system.seeds is None or reference.seeds is None:
        return None
    by_seed = {run.seed: run for run in theirs}
    pairs = [(run, by_seed[run.seed]) for run in ours if run.seed in by_seed]
    return ([run for run, _ in pairs], [run for _, run in pairs]) if pairs else None


def compare_all(
    evaluations: Sequence[Evaluation],
    systems: Sequence[System],
    references: Sequence[System],
    notes: list[str],
) -> list[Comparison]:
    """Every system against every reference on every part, corrected as one family (Holm).

    A comparison of two references stands there twice, once from each side, and is counted once.

    Args:
        evaluations: of the parts of the data.
        systems: the systems.
        references: those of them that the others are compared with.
        notes: of what is left out is told.
    """
    found: dict[tuple[str, str, str], Comparison] = {}
    for evaluation in evaluations:
        for reference in references:
            for system in systems:
                known = (evaluation.part, reference.name, system.name) in found
                compared = None if system is reference or known else evaluation.compare(system, reference)
                if compared is not None:
                    found[evaluation.part, system.name, reference.name] = compared
                    _tell_other_seeds(evaluation, system, reference, compared, notes)
    corrected = [
        replace(comparison, p_holm=p)
        for comparison, p in zip(found.values(), holm([c.p for c in found.values()]), strict=True)
    ]
    names = {reference.name for reference in references}
    return [c for c in corrected if c.reference in names] + [
        c.reversed() for c in corrected if c.system in names
    ]


def _tell_other_seeds(
    evaluation: Evaluation, system: System, reference: System, compared: Comparison, notes: list[str]
) -> None:
    """Tell where a difference is not that of the means in the table."""
    counts = [len(evaluation.runs(one)) for one in (system, reference)]
    common = compared.num_seeds
    if 0 < common < max(counts):
        seeds = "1 seed" if common == 1 else f"{common} seeds"
        other = "; p tells nothing of other trainings" if common == 1 else ""
        notes.append(
            f"{evaluation.part}: {system.name} has {counts[0]} and {reference.name} {counts[1]} runs, "
            f"of {seeds} in common: difference and p are of these alone, unlike the means{other}"
        )


@dataclass
class _Scored:
    """A run that was scored on a part, and its counts by units."""

    run: Experiment
    scoring: Scoring
    counts: Mapping[str, UnitCounts] = field(default_factory=dict)


def evaluate(
    part: str,
    systems: Sequence[System],
    notes: list[str],
    replications: int = DEFAULT_REPLICATIONS,
    seed: int = DEFAULT_SEED,
) -> Evaluation | None:
    """Resample the units of one part of the data, the same draws for all runs.

    Args:
        part: ``dev`` or ``test``.
        systems: those to compare.
        notes: what is missing is added.
        replications: B.
        seed: of the draws.

    Returns:
        None where no run tells errors by speaker or utterance.

    Raises:
        DktError: two runs were scored on different utterances, references or speakers.
    """
    scored = [_Scored(run, run.scored[part]) for s in systems for run in s.runs if part in run.scored]
    _check_same_references([one.scoring for one in scored])
    unit, detailed = _choose_unit(part, scored, notes)
    whole = _whole(part, detailed, notes)
    if not whole:
        return None
    base = whole[0]
    for other in whole[1:]:
        _check_same_units(base, other, unit)
    units = list(base.counts)
    words = np.array([base.counts[name].words for name in units], dtype=np.int64)
    if not words.any():
        notes.append(f"{part}: the references have no words: no interval, no comparison")
        return None
    errors = np.array([[one.counts[name].errors for name in units] for one in whole], dtype=np.int64)
    rates = resample_rates(errors, words, replications, seed)
    places = [one.run.directory for one in whole]
    return Evaluation(
        part,
        unit,
        units,
        words,
        dict(zip(places, errors, strict=True)),
        dict(zip(places, rates.T, strict=True)),
        seed,
    )


def _references(scoring: Scoring) -> Mapping[str, Sequence[str]] | None:
    if scoring.references is not None or scoring.alignments is None:
        return scoring.references
    return {
        utt: tuple(ref for ref, _ in pairs if ref != NO_WORD) for utt, pairs in scoring.alignments.items()
    }


def _check_same_references(scorings: Sequence[Scoring]) -> None:
    known = [(scoring.path, texts) for scoring in scorings if (texts := _references(scoring)) is not None]
    for path, texts in known[1:]:
        first, expected = known[0]
        hint = "compare systems on the same test set"
        for utt in _in_one_only(expected, texts):
            here, there = (path, first) if utt in texts else (first, path)
            raise DktError(f"is scored here, but not in {there}", path=here, utt=utt, hint=hint)
        for utt, words in texts.items():
            if tuple(words) != tuple(expected[utt]):
                raise DktError(
                    f"the reference is '{' '.join(words)}', but '{' '.join(expected[utt])}' in {first}",
                    path=path,
                    utt=utt,
                    hint=hint,
                )


def _in_one_only(first: Mapping[str, object], second: Mapping[str, object]) -> Iterator[str]:
    yield from sorted(first.keys() ^ second.keys())


def _choose_unit(part: str, scored: Sequence[_Scored], notes: list[str]) -> tuple[str, list[_Scored]]:
    """Speakers, if all runs tell errors by several, else utterances; and the runs that tell them so."""
    detailed = [one for one in scored if one.scoring.speakers or one.scoring.alignments]
    plain = [one.scoring.path for one in scored if one not in detailed]
    if plain:
        notes.append(f"no wer_details, so no interval and no comparison: {listed(plain)}")
    by_speaker = [one for one in detailed if one.scoring.speakers]
    num_speakers = max((len(one.scoring.speakers or ()) for one in by_speaker), default=0)
    if detailed and len(by_speaker) == len(detailed) and num_speakers > 1:
        if num_speakers < _FEW_SPEAKERS:
            notes.append(
                f"{part}: {num_speakers} speakers: intervals are rough, and no p can be below "
                f"{0.5 ** (num_speakers - 1):g}"
            )
        for one in detailed:
            one.counts = one.scoring.speakers or {}
        return "speakers", detailed
    if detailed:
        why = "one speaker" if num_speakers == 1 else "speakers are not known (no per_spk)"
        notes.append(f"{part}: {why}: intervals and p are over utterances, as if these were independent")
    for one in detailed:
        one.counts = one.scoring.utterances() or {}
        if not one.counts:
            notes.append(f"no per_utt, so no interval and no comparison: {one.scoring.path}")
    return "utterances", [one for one in detailed if one.counts]


def _whole(part: str, scored: Sequence[_Scored], notes: list[str]) -> list[_Scored]:
    """The runs that have a hypothesis for every utterance that others have one for."""
    most = max((one.scoring.best.num_words for one in scored), default=0)
    names = set().union(*(one.scoring.alignments or () for one in scored))
    whole = []
    for one in scored:
        absent = sorted(names - set(one.scoring.alignments)) if one.scoring.alignments is not None else []
        if absent or (one.scoring.best.partial and one.scoring.best.num_words < most):
            first = f" ('{absent[0]}' first)" if absent else ""
            notes.append(
                f"{one.scoring.path}: {len(absent) or 'some'} utterances have no hypothesis{first}, which "
                "others have: no interval, no comparison"
            )
        else:
            whole.append(one)
    return whole


def _check_same_units(base: _Scored, other: _Scored, unit: str) -> None:
    for name in sorted(base.counts.keys() | other.counts.keys()):
        ours, theirs = other.counts.get(name), base.counts.get(name)
        if ours is None or theirs is None or ours.words != theirs.words:
            told = [f"{0 if counts is None else counts.words} words" for counts in (ours, theirs)]
            raise DktError(
                f"{unit.removesuffix('s')} '{name}' has {told[0]} of the references, but {told[1]} in "
                f"{base.scoring.path}",
                path=other.scoring.path,
                hint="score both with the same text and utt2spk",
            )


def method_text(
    evaluations: Sequence[Evaluation], replications: int, comparisons: Sequence[Comparison]
) -> str:
    """How intervals and p were computed, for who reads the table."""
    if not evaluations:
        return ""
    units = ", ".join(f"{len(e.units)} {e.unit} of {e.part}" for e in evaluations)
    text = (
        f"Intervals: 95 %, by a bootstrap of {replications} replications over the {units}, and over seeds "
        "where there are several (Bisani and Ney, 2004; Owen, 2007)."
    )
    if comparisons:
        family = len({(c.part, frozenset((c.system, c.reference))) for c in comparisons})
        text += (
            " p: two-sided, of the paired difference over the seeds that both have; the larger of an exact "
            "sign-flip test over these units and, with several seeds, of the bootstrap over both; corrected "
            f"by Holm for {family} comparison{'s' if family > 1 else ''}."
        )
    return text
