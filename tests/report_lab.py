"""Experiment directories with scored decode directories, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dkt.bin import main
from dkt.score.compute_wer import score
from dkt.train.history import EpochRecord, save_history

#: Two words an utterance, two utterances a speaker.
REFERENCES = {
    f"{speaker}-{number}": ["ONE", word]
    for speaker in ("ann", "bob", "cy")
    for number, word in enumerate(("TWO", "THREE"))
}


def write_test_set(directory: Path, references: Mapping[str, list[str]] = REFERENCES) -> Path:
    """A data directory of transcripts; speakers are what is before the dash."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {utt: " ".join(words) for utt, words in references.items()}
    speakers = {utt: utt.split("-")[0] for utt in references}
    for name, values in (("text", texts), ("utt2spk", speakers)):
        (directory / name).write_text("".join(f"{utt} {value}\n" for utt, value in values.items()))
    return directory


def score_into(
    decode: Path,
    data: Path,
    changes: Mapping[str, str] | None = None,
    references: Mapping[str, list[str]] = REFERENCES,
) -> None:
    """A decode directory as ``steps/score.sh`` leaves it.

    Args:
        decode: the directory.
        data: with ``text`` and, if speakers shall be known, ``utt2spk``.
        changes: words found that are not those of the reference; None for an utterance without a hypothesis.
        references: those of ``data``.
    """
    found = {utt: " ".join(words) for utt, words in references.items()} | dict(changes or {})
    texts = {utt: text for utt, text in found.items() if text is not None}
    (decode / "scoring").mkdir(parents=True)
    (decode / "scoring/9_0.0.txt").write_text("".join(f"{utt} {text}\n" for utt, text in texts.items()))
    stats = score(references, {utt: text.split() for utt, text in texts.items()}, "present")
    (decode / "wer_9_0.0").write_text(f"{stats.report()}\n")
    assert main(["best-wer", "--write", f"--data={data}", str(decode)]) == 0


def write_curve(directory: Path, cv_acc: float, seed: int | None = None) -> None:
    """A learning curve of two epochs, the second of which was rejected, and a configuration with the seed."""
    directory.mkdir(parents=True, exist_ok=True)
    save_history(
        directory / "history.csv",
        [
            EpochRecord(number, 0.1, 1.0, 0.9, acc + 10, 1.25, acc, 0.5, number == 1, 2.0)
            for number, acc in ((1, cv_acc), (2, cv_acc - 5))
        ],
    )
    if seed is not None:
        (directory / "config.yaml").write_text(f"training: {{seed: {seed}}}\n")
