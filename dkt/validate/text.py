"""Transcripts against a lang directory: what a GMM training or an alignment would refuse or drop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.findings import Findings, Level, plural
from dkt.hmm.alignment_quality import least_frames
from dkt.hmm.topology import load_topology
from dkt.util.oov import OovCount
from dkt.util.symbols import read_symbol_table
from dkt.util.text import fields, natural, read_lines
from dkt.validate.data import DataFiles

_LEXICON = "phones/align_lexicon.int"


@dataclass
class Transcripts:
    """What was learnt of the transcripts.

    Attributes:
        least_frames: utterance to the fewest frames that its words take, as far as known.
        unalignable: utterances that cannot be aligned, with the reason in the words of the aligner.
    """

    least_frames: dict[str, int] = field(default_factory=dict)
    unalignable: dict[str, str] = field(default_factory=dict)


def check_words(files: DataFiles, lang: Path, max_oov: float, findings: Findings) -> Transcripts:
    """Note words outside the lexicon and words that nobody can pronounce.

    Args:
        files: the data directory, with ``text``.
        lang: a lang directory; what it lacks is not looked at.
        max_oov: the share of words that may be outside the lexicon.
        findings: where it is noted.
    """
    # Without features an utterance is lost, whatever its words.
    used = files.lines("feats.scp") or files.lines("text")
    transcripts = {utt: line[1:] for utt, line in files.lines("text").items() if utt in used}
    path, found = files.data.path / "text", Transcripts()
    try:
        words = read_symbol_table(lang / "words.txt")
        oov_path = lang / "oov.txt"
        oov = fields(" ".join(read_lines(oov_path)))[:1] if oov_path.is_file() else []
    except DktError as error:
        findings.error("words.txt", str(error))
        return found
    count = OovCount.of(transcripts.values(), words, path, "".join(oov))
    if count.share > max_oov:
        message = f"{count.describe()}; the limit is {100 * max_oov:g} %"
        findings.error("words", message, path=path, hint=f"{count.mend()}, or allow it with --max-oov")
    elif count.causes():
        findings.warn("words", count.describe(), path=path, hint=count.mend())
    findings.passed("words", count.figures())
    try:
        unspoken = _look_up(transcripts, words, "".join(oov), lang, found)
    except DktError as error:
        findings.error("lang", str(error))
        return found
    if unspoken:
        # Where alignments are there, somebody could.
        level = Level.ERROR if files.options.transcribed else Level.WARNING
        message = f"{plural(len(unspoken), 'word')} of the text without a pronunciation"
        hint = "add them to the lexicon and prepare the lang directory again"
        named = [f"{word} in {utt}" for word, utt in sorted(unspoken.items())]
        findings.add(level, "words", message, path=lang / _LEXICON, names=named, hint=hint)
    return found


def _look_up(
    transcripts: dict[str, list[str]],
    words: dict[str, int],
    oov: str,
    lang: Path,
    found: Transcripts,
) -> dict[str, str]:
    """Find the fewest frames of every transcript; the words without pronunciation, and where they stand."""
    lexicon = lang / _LEXICON
    if not (lexicon.is_file() and (lang / "topo").is_file()):
        return {}
    topology = load_topology(lang / "topo")
    least = {phone: least_frames(topology.states(phone)) for phone in topology.phones}
    frames: dict[int, int] = {}
    for number, line in enumerate(read_lines(lexicon), 1):
        row = [natural(word) for word in fields(line)]
        if len(row) < 3 or None in row or any(phone not in least for phone in row[2:]):
            raise DktError(f"line {number}: expected '<word> <word> <phone>...' in integers", path=lexicon)
        length = sum(least[phone] for phone in row[2:] if phone is not None)
        word = row[1] or 0
        frames[word] = min(length, frames.get(word, length))
    unspoken: dict[str, str] = {}
    for utt, transcript in transcripts.items():
        ids = [words.get(word, words.get(oov, -1)) for word in transcript]
        found.least_frames[utt] = sum(frames.get(index, 0) for index in ids)
        unspoken |= {word: utt for word, index in zip(transcript, ids, strict=True) if index not in frames}
    return unspoken


def check_lang_files(lang: Path, findings: Findings) -> None:
    """Note what is wrong with the lang directory of a GMM training, in the training's own words."""
    try:
        from dkt.gmm.align import check_lang  # its packages are of the stand-alone chain
    except ImportError:
        return
    try:
        check_lang(lang)
    except DktError as error:
        findings.error("lang", str(error))
    findings.passed("lang", f"{lang} can be trained with")


def check_empty(files: DataFiles, lang: Path, found: Transcripts, findings: Findings) -> None:
    """Note utterances without words that cannot be silence, as the lexicon has no optional silence."""
    empty = [utt for utt, line in files.lines("text").items() if len(line) == 1]
    if not empty or not (lang / "L.fst").is_file():
        return
    try:
        if _silence_is_optional(lang / "L.fst"):
            return
    except DktError as error:
        findings.error("lang", str(error))
        return
    reason = "its transcript is empty, and the lexicon has no optional silence"
    found.unalignable |= dict.fromkeys(empty, reason)


def _silence_is_optional(path: Path) -> bool:
    """Whether the lexicon has a path with a phone for no words."""
    from dkt.fstext.fst import load_fst  # its package is needed for this alone

    lexicon = load_fst(path)
    arcs = lexicon.arcs[lexicon.arcs["olabel"] == 0]
    sources = lexicon.sources[lexicon.arcs["olabel"] == 0]
    # States as they are reached without a phone, and after one.
    reached = {(lexicon.start, False)}
    queue = [(lexicon.start, False)]
    by_source: dict[int, list[tuple[int, bool]]] = {}
    for source, label, target in zip(
        sources.tolist(), arcs["ilabel"].tolist(), arcs["nextstate"].tolist(), strict=True
    ):
        by_source.setdefault(source, []).append((target, label != 0))
    while queue:
        state, after = queue.pop()
        for target, phone in by_source.get(state, []):
            if (target, after or phone) not in reached:
                reached.add((target, after or phone))
                queue.append((target, after or phone))
    finals = {state for state, weight in enumerate(lexicon.final.tolist()) if weight < float("inf")}
    return any(state in finals for state, after in reached if after)
