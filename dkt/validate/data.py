"""The text files of a data directory, checked for all that Kaldi's ``utils/validate_data_dir.sh`` checks."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from dkt.base.findings import Findings, Level, plural
from dkt.base.ranges import real_number
from dkt.util.data_dir import DataDir, misplaced
from dkt.util.keyed_files import KeyedFile, compare_keys, read_keyed_file
from dkt.util.text import describe_character, hidden_character

# The end-of-sentence and backoff symbols of a language model: no transcript may hold them.
_ILLEGAL_WORDS = ("<s>", "</s>", "#0", "<eps>")

_EMPTY = "with an empty transcript"


@dataclass(frozen=True)
class DataCheckOptions:
    """What a data directory need not have, in the words of Kaldi's options.

    Attributes:
        no_feats, no_text, no_wav: the file need not be there; if it is, it is checked.
        no_spk_sort: speakers need not be in order along utt2spk.
        non_print: characters that cannot be printed are let pass.
        cmvn: how bad missing or broken CMVN statistics are.
        transcribed: a GMM is to be trained on them: what it refuses is an error.
    """

    no_feats: bool = False
    no_text: bool = False
    no_wav: bool = False
    no_spk_sort: bool = False
    non_print: bool = False
    cmvn: Level = Level.WARNING
    transcribed: bool = False


@dataclass(frozen=True)
class _Kind:
    """How the keys of a file go with the others.

    Attributes:
        keys: what they are: ``utterance``, ``speaker`` or ``recording``.
        damage: how bad a damaged file is.
        missing, more: how bad missing and superfluous keys are.
    """

    keys: str
    damage: Level = Level.WARNING
    missing: Level = Level.WARNING
    more: Level = Level.WARNING


def _kinds(options: DataCheckOptions) -> dict[str, _Kind]:
    """The files beside utt2spk. A training reads feats.scp, and its labels were made from text."""
    cmvn = options.cmvn
    return {
        "spk2utt": _Kind("speaker"),
        "text": _Kind("utterance", damage=Level.ERROR),
        "segments": _Kind("utterance"),
        "wav.scp": _Kind("recording"),
        "reco2file_and_channel": _Kind("recording"),
        "reco2dur": _Kind("recording"),
        # What lacks features is lost, and counted. What has no speaker cannot be normalised.
        "feats.scp": _Kind("utterance", damage=Level.ERROR, more=cmvn),
        "cmvn.scp": _Kind("speaker", damage=cmvn, missing=cmvn),
        "vad.scp": _Kind("utterance"),
        "utt2num_frames": _Kind("utterance"),
        "utt2dur": _Kind("utterance"),
        "utt2lang": _Kind("utterance"),
        "utt2uniq": _Kind("utterance"),
        "utt2warp": _Kind("utterance"),
        "spk2gender": _Kind("speaker"),
        "spk2warp": _Kind("speaker"),
    }


class DataFiles:
    """The files of a data directory that are there, each read once, faults noted.

    Args:
        data: the directory.
        options: what it need not have.
        findings: where faults are noted, under the name of the file.
    """

    def __init__(self, data: DataDir, options: DataCheckOptions, findings: Findings) -> None:
        self.data = data
        self.options = options
        self.findings = findings
        self.kinds = _kinds(options)
        self._files: dict[str, KeyedFile] = {}
        self._read_all()
        self.expected = self._expected_keys()

    def _read_all(self) -> None:
        damage = {"utt2spk": Level.ERROR, **{name: kind.damage for name, kind in self.kinds.items()}}
        for name, level in damage.items():
            path = self.data.path / name
            order = self._order_level() if name == "utt2spk" else Level.WARNING
            # Odd characters in words that nobody reads stop nobody.
            odd = Level.WARNING if name == "text" and self.options.no_text else level
            file = read_keyed_file(path, level, self.findings, order, odd) if path.is_file() else None
            if file is not None:
                self._files[name] = file

    def _expected_keys(self) -> dict[str, tuple[str, list[str]]]:
        """Kind of key to the file that decides and the keys there."""
        utts = list(self.lines("utt2spk"))
        recordings = ("utt2spk", utts)
        if "segments" in self:
            recordings = (
                "segments",
                sorted({line[1] for line in self.lines("segments").values() if len(line) > 1}),
            )
        return {
            "utterance": ("utt2spk", utts),
            "speaker": ("utt2spk", sorted(set(self.speakers().values()))),
            "recording": recordings,
        }

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def lines(self, name: str) -> dict[str, list[str]]:
        """Key to the fields of its line; empty if there is no such file."""
        return self._files[name].lines if name in self else {}

    def entries(self, name: str) -> dict[str, str]:
        """Key to extended filename of a script file; empty if there is no such file."""
        return self._files[name].entries if name in self else {}

    def speakers(self) -> dict[str, str]:
        """Utterance to speaker, as far as utt2spk tells."""
        return {utt: line[1] for utt, line in self.lines("utt2spk").items() if len(line) > 1}

    def numbers(self, name: str) -> dict[str, float]:
        """Key to the number in its line, where there is one."""
        found = {}
        for key, line in self.lines(name).items():
            try:
                found[key] = real_number(line[1])
            except (IndexError, ValueError):
                continue
        return found

    def check(self) -> None:
        """Note what the files lack, and where they contradict one another."""
        self._check_presence()
        self._check_speakers()
        for name, kind in self.kinds.items():
            where, keys, noun = self._expected_of(name, kind)
            if name in self and where in self:
                compare_keys(self._files[name], keys, where, noun, (kind.missing, kind.more), self.findings)
        if "text" in self:
            _check_text(self._files["text"], self.options, self.findings)
        for name, file in self._files.items():
            noun = self.kinds[name].keys if name in self.kinds else "utterance"
            self.findings.passed(name, plural(len(file.lines), noun))

    def _expected_of(self, name: str, kind: _Kind) -> tuple[str, list[str], str]:
        """The file that decides, the keys of a file as it tells, and what they are."""
        where, keys = self.expected[kind.keys]
        if name != "cmvn.scp" or name not in self:
            return where, keys, kind.keys
        # Statistics may be of utterances; nobody needs those of speakers without features.
        used = set(self.lines("feats.scp")) if "feats.scp" in self else set(self.lines("utt2spk"))
        speakers = {speaker for utt, speaker in self.speakers().items() if utt in used}
        found = set(self.lines(name))
        if found.isdisjoint(speakers) and not found.isdisjoint(used):
            return where, sorted(used), "utterance"
        return where, sorted(speakers), kind.keys

    def _check_presence(self) -> None:
        opts = self.options
        needed: list[tuple[str, Level, str]] = [
            ("utt2spk", Level.ERROR, "prepare the data directory"),
            ("spk2utt", Level.WARNING, f"dkt fix-data {self.data.path} makes it"),
        ]
        text = Level.ERROR if opts.transcribed else Level.WARNING
        needed += [] if opts.no_text else [("text", text, "add it, or give --no-text")]
        # Segments point into recordings: without those they are no use.
        if not opts.no_wav or "segments" in self:
            needed += [("wav.scp", Level.WARNING, "add it, or give --no-wav")]
        if not opts.no_feats:
            needed += [("feats.scp", Level.ERROR, "make it with steps/make_fbank.sh or steps/make_mfcc.sh")]
            hint = "make it with steps/compute_cmvn_stats.sh, or give --cmvn=optional if no CMVN is wanted"
            needed += [("cmvn.scp", opts.cmvn, hint)]
        for name, level, hint in needed:
            if not (self.data.path / name).is_file():
                self.findings.add(level, name, "does not exist", path=self.data.path / name, hint=hint)

    def _order_level(self) -> Level:
        """How bad it is that utt2spk is not in order: alignments are split into jobs by it."""
        return Level.ERROR if self.options.transcribed else Level.WARNING

    def _check_speakers(self) -> None:
        speakers, check = self.speakers(), "utt2spk"
        path = self.data.path / check
        if not self.options.no_spk_sort:
            wrong = misplaced(speakers.values())
            if wrong:
                self.findings.add(
                    self._order_level(),
                    check,
                    "speakers are not in order",
                    path=path,
                    names=[f"{speaker} after {previous}" for previous, speaker in wrong],
                    hint="begin utterance-ids with the speaker-id, or give --no-spk-sort",
                )
        if len(set(speakers.values())) == 1 and len(speakers) > 1:
            self.findings.warn(check, "only one speaker: CMVN and adaptation will mix all voices", path=path)
        if "spk2utt" in self and "utt2spk" in self:
            self._check_spk2utt(speakers)

    def _check_spk2utt(self, speakers: dict[str, str]) -> None:
        pairs = {(utt, line[0]) for line in self.lines("spk2utt").values() for utt in line[1:]}
        wanted = set(speakers.items())
        path, hint = self.data.path / "spk2utt", f"dkt fix-data {self.data.path} makes it again"
        for found, what in ((wanted - pairs, "of utt2spk missing"), (pairs - wanted, "not as in utt2spk")):
            if found:
                names = sorted(f"{utt} of {speaker}" for utt, speaker in found)
                message = f"{plural(len(names), 'utterance')} {what}"
                self.findings.warn("spk2utt", message, path=path, names=names, hint=hint)


def _unprintable(text: str) -> str | None:
    """A character that cannot be seen, or has no meaning yet (``[^[:print:][:space:]]``)."""
    hidden = hidden_character(text)
    if hidden or text.isascii():
        return hidden
    return next((char for char in text if unicodedata.category(char) == "Cn"), None)


def _check_text(file: KeyedFile, options: DataCheckOptions, findings: Findings) -> None:
    faults: dict[str, list[str]] = {}
    reserved: set[str] = set()

    def blame(fault: str, utt: str) -> None:
        faults.setdefault(fault, []).append(utt)

    for utt, line in file.lines.items():
        text = " ".join(line)
        if len(line) == 1:
            blame(_EMPTY, utt)
        for word in _ILLEGAL_WORDS:
            if word in line[1:]:
                blame(f"with the symbol {word}, which is not a word", utt)
                reserved.add(f"with the symbol {word}, which is not a word")
        if not options.non_print and (char := _unprintable(text)):
            blame(f"with a character that cannot be printed, {describe_character(char)}", utt)
    for fault, utts in faults.items():
        level = Level.ERROR if options.transcribed and fault in reserved else Level.WARNING
        hint = "they count as silence: transcribe or remove them" if fault == _EMPTY else "mend it"
        message = f"{plural(len(utts), 'transcript')} {fault}"
        findings.add(level, "text", message, path=file.path, names=utts, hint=hint)
