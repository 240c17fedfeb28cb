#!/usr/bin/env python3
"""Prepare data and dictionary directories of the speechocean762 corpus (OpenSLR 101) or a part of it."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dkt.base.errors import DktError
from dkt.util.data_dir import DataDir
from dkt.util.text import fields, read_keyed_lines, read_lines, write_lines

PARTS = ("train", "dev", "test")
# Of the corpus as it is published: of its 125 training speakers 10 are dev.
DEV_EVERY = 12
OOV_WORD = "<UNK>"
SILENCES = ("SIL", "SPN")


@dataclass(frozen=True)
class Part:
    """The tables of a data directory that is to be written.

    Attributes:
        wav: the recording of each utterance.
        text, utt2spk: as in Kaldi.
        spk2gender: of its speakers; None where the corpus does not tell.
    """

    wav: dict[str, Path]
    text: dict[str, str]
    utt2spk: dict[str, str]
    spk2gender: dict[str, str] | None

    @classmethod
    def read(cls, source: Path, root: Path) -> Part:
        """Read one data directory; the paths of its recordings, relative to ``root``, become absolute.

        Raises:
            DktError: a recording or a transcript is missing.
        """
        directory = DataDir(source)
        wav = {}
        for utt, place in directory.wav_scp.items():
            path = root / place
            if not path.is_file():
                raise DktError("does not exist", path=path, utt=utt, hint="is the corpus complete?")
            wav[utt] = path.resolve()
        missing = sorted(set(wav) ^ set(directory.text))
        if missing:
            raise DktError("is in only one of wav.scp and text", path=source, utt=missing[0])
        genders = source / "spk2gender"
        spk2gender = read_keyed_lines(genders) if genders.is_file() else None
        return cls(wav, dict(directory.text), dict(directory.utt2spk), spk2gender)

    def named_by_speaker(self) -> Part:
        """The same with the speaker in front of each utterance-id, so that all tables are sorted alike."""
        names = {utt: f"{speaker}-{utt}" for utt, speaker in self.utt2spk.items()}
        wav, text, utt2spk = (
            {names[utt]: value for utt, value in table.items()}
            for table in (self.wav, self.text, self.utt2spk)
        )
        return replace(self, wav=wav, text=text, utt2spk=utt2spk)

    def of_speakers(self, speakers: set[str]) -> Part:
        """The utterances of some speakers."""
        wav, text = (
            {utt: value for utt, value in table.items() if self.utt2spk[utt] in speakers}
            for table in (self.wav, self.text)
        )
        genders = self.spk2gender
        if genders is not None:
            genders = {speaker: value for speaker, value in genders.items() if speaker in speakers}
        return Part(wav, text, {utt: self.utt2spk[utt] for utt in wav}, genders)

    def write(self, target: Path) -> None:
        """Write the data directory."""
        target.mkdir(parents=True, exist_ok=True)
        tables: dict[str, dict[str, Any]] = {"wav.scp": self.wav, "text": self.text, "utt2spk": self.utt2spk}
        if self.spk2gender is not None:
            tables["spk2gender"] = self.spk2gender
        for name, table in tables.items():
            write_lines(target / name, [f"{key} {value}" for key, value in sorted(table.items())])
        speakers = DataDir(target).spk2utt
        write_lines(target / "spk2utt", [f"{key} {' '.join(utts)}" for key, utts in sorted(speakers.items())])


def read_parts(corpus: Path) -> tuple[dict[str, Part], Path, list[str]]:
    """The parts of the corpus, its lexicon, and the text for the language model.

    The corpus as it is published has no dev data and no text of its own for a language model: every twelfth
    of the training speakers is dev, and what the others read is the text. A folder that has ``lexicon.txt``
    has all of it.
    """
    if (corpus / "lexicon.txt").is_file():
        parts = {name: Part.read(corpus / name, corpus) for name in PARTS}
        for name in PARTS:
            DataDir(corpus / name).check_sorted()
        return parts, corpus / "lexicon.txt", list(read_lines(corpus / "lm_train.txt"))
    lexicon = corpus / "resource/lexicon.txt"
    if not lexicon.is_file():
        raise DktError(
            "holds neither lexicon.txt nor resource/lexicon.txt",
            path=corpus,
            hint="give the folder of speechocean762 (OpenSLR 101), with WAVE, resource, train and test",
        )
    train, test = (Part.read(corpus / name, corpus).named_by_speaker() for name in ("train", "test"))
    speakers = sorted(set(train.utt2spk.values()))
    dev = set(speakers[DEV_EVERY - 1 :: DEV_EVERY])
    if not dev or dev == set(speakers):
        raise DktError(f"{len(speakers)} speakers, expected {DEV_EVERY} or more", path=corpus / "train")
    rest = train.of_speakers(set(speakers) - dev)
    texts = [text for _, text in sorted(rest.text.items())]
    return {"train": rest, "dev": train.of_speakers(dev), "test": test}, lexicon, texts


def prepare_dict(lexicon: Path, target: Path) -> None:
    """Write a dictionary directory; stress marks are dropped, as with the corpus's Kaldi recipe."""
    entries = {f"{OOV_WORD} SPN"}
    phones = set()
    for number, line in enumerate(read_lines(lexicon), 1):
        word, *pronunciation = fields(line) or [""]
        if not pronunciation:
            raise DktError(f"line {number}: expected '<word> <phone> ...', found '{line}'", path=lexicon)
        plain = [re.sub(r"\d$", "", phone) for phone in pronunciation]
        entries.add(f"{word} {' '.join(plain)}")
        phones.update(plain)
    files = {
        "lexicon.txt": sorted(entries),
        "nonsilence_phones.txt": sorted(phones - set(SILENCES)),
        "silence_phones.txt": list(SILENCES),
        "optional_silence.txt": ["SIL"],
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        write_lines(target / name, lines)


def main() -> int:
    """Prepare everything; exit status 1 for a corpus that is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "corpus_dir", type=Path, help="as published, or with dev, lexicon.txt and lm_train.txt"
    )
    parser.add_argument("data_dir", type=Path)
    args = parser.parse_args()
    try:
        parts, lexicon, texts = read_parts(args.corpus_dir)
        for name, part in parts.items():
            part.write(args.data_dir / name)
        prepare_dict(lexicon, args.data_dir / "local/dict")
        write_lines(args.data_dir / "local/lm_train.txt", texts)
    except DktError as error:
        print(f"ERROR (prepare_data.py) {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
