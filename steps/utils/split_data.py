"""Splits a Kaldi data directory into parts for parallel jobs.

The parts are ``<data-dir>/split<N>/<1..N>``, or ``split<N>utt`` with ``--per-utt``. Speakers stay whole
unless ``--per-utt`` is given. Nothing is done while the parts are as new as the data. The parts appear all
at once, so jobs that split the same data at the same time do not see each other's halves.
"""

import argparse
import codecs
import contextlib
import errno
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Called from a shell script with an isolated Python: the package is that of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dkt.base.errors import DktError
from dkt.base.files import partial_directory
from dkt.util.split_data import group_by_speaker, split_by_speaker, split_by_utterance
from dkt.util.text import BYTE_ORDER_MARK, refusal

Pairs = list[tuple[bytes, bytes]]  # utterance and speaker

BY_UTTERANCE = (
    "feats.scp",
    "text",
    "vad.scp",
    "utt2lang",
    "utt2dur",
    "utt2num_frames",
    "segments",
)
BY_SPEAKER = ("cmvn.scp", "spk2gender", "spk2warp")
BY_RECORDING = ("wav.scp", "reco2file_and_channel")
SOURCES = ("utt2spk", "spk2utt", *BY_UTTERANCE, *BY_SPEAKER, *BY_RECORDING)
PUBLISH_ATTEMPTS = 10
#: What another directory may help against.
NOT_HERE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


def text_of(raw: bytes) -> str:
    """A field or line as it can be shown."""
    return raw.decode(errors="replace")


def read_lines(path: Path) -> list[tuple[bytes, bytes]]:
    """The lines of a file that are not blank, each after its first field."""
    data = path.read_bytes()
    if data.startswith(codecs.BOM_UTF8):
        what, hint = refusal(BYTE_ORDER_MARK, path)
        raise DktError(f"begins with {what}", path=path, hint=hint)
    lines = [line for line in data.split(b"\n") if line.strip()]
    return [(line.split(None, 1)[0], line) for line in lines]


def read_utt2spk(path: Path) -> Pairs:
    """The (utterance, speaker) pairs of utt2spk."""
    if not path.is_file():
        raise DktError(
            "no such file", path=path, hint="every Kaldi data directory has one: is its name right?"
        )
    pairs: Pairs = []
    for _, line in read_lines(path):
        fields = line.split()
        if len(fields) != 2:
            raise DktError(f"expected '<utterance> <speaker>', found '{text_of(line)}'", path=path)
        pairs.append((fields[0], fields[1]))
    if not pairs:
        raise DktError("it lists no utterance", path=path)
    twice = [utt for utt, count in Counter(utt for utt, _ in pairs).items() if count > 1]
    if twice:
        raise DktError("is a duplicate", path=path, utt=text_of(twice[0]))
    return pairs


def read_recordings(data: Path) -> dict[bytes, bytes]:
    """Utterance to recording by segments; empty without it: each utterance is its own recording."""
    recordings: dict[bytes, bytes] = {}
    path = data / "segments"
    for utt, line in read_lines(path) if path.is_file() else []:
        fields = line.split()
        if len(fields) < 4:
            raise DktError(
                f"expected '<utterance> <recording> <begin> <end>', found '{text_of(line)}'", path=path
            )
        recordings[utt] = fields[1]
    return recordings


def write_filtered(source: Path, keys_of_part: list[set[bytes]], folders: list[Path]) -> None:
    """Write to each folder the lines of ``source`` whose key is in its part; warn of lines in no part."""
    parts_of: dict[bytes, list[int]] = {}
    for part, keys in enumerate(keys_of_part):
        for key in keys:
            parts_of.setdefault(key, []).append(part)
    kept: list[list[bytes]] = [[] for _ in folders]
    lost = []
    for key, line in read_lines(source):
        for part in parts_of.get(key, []):
            kept[part].append(line + b"\n")
        if key not in parts_of:
            lost.append(text_of(key))
    for part, folder in enumerate(folders):
        (folder / source.name).write_bytes(b"".join(kept[part]))
    if lost:
        warn(f"{source}: {len(lost)} lines are left out, first '{lost[0]}': utt2spk has nothing for them")


def other_scripts(folder: Path) -> set[str]:
    """Script files that are not Kaldi's own: further streams of features, such as pitch.scp."""
    return {path.name for path in folder.glob("*.scp")} - set(SOURCES)


def warn(message: str) -> None:
    """Say on stderr what does not stop the split."""
    print(f"split_data.sh: warning: {message}", file=sys.stderr)


def warn_of_gaps(data: Path, utts: set[bytes]) -> None:
    """Warn of utterances that have no features or no text though others have."""
    for name in ("feats.scp", "text"):
        path = data / name
        gaps = sorted(utts - {key for key, _ in read_lines(path)}) if path.is_file() else []
        if gaps:
            warn(f"{path}: nothing for {len(gaps)} of {len(utts)} utterances, first '{text_of(gaps[0])}'")


def write_part(folder: Path, part: Pairs) -> None:
    """Write utt2spk and spk2utt of one part."""
    folder.mkdir(parents=True)
    (folder / "utt2spk").write_bytes(b"".join(b"%s %s\n" % pair for pair in part))
    groups = group_by_speaker(part).items()
    rows = [b" ".join([speaker, *(utt for utt, _ in group)]) + b"\n" for speaker, group in groups]
    (folder / "spk2utt").write_bytes(b"".join(rows))


def write_parts(data: Path, parts: list[Pairs], target: Path) -> None:
    """Write every file of every part below ``target``."""
    folders = [target / str(number + 1) for number in range(len(parts))]
    for number, part in enumerate(parts):
        write_part(folders[number], part)
    recording_of = read_recordings(data)
    utts = [{utt for utt, _ in part} for part in parts]
    speakers = [{speaker for _, speaker in part} for part in parts]
    recordings = [{recording_of.get(utt, utt) for utt in part} for part in utts]
    by_utterance = [*BY_UTTERANCE, *sorted(other_scripts(data))]
    # CMVN statistics may be of utterances, too.
    by_speaker = [own | of_speakers for own, of_speakers in zip(utts, speakers, strict=True)]
    for names, keys in ((by_utterance, utts), (BY_SPEAKER, by_speaker), (BY_RECORDING, recordings)):
        for name in names:
            if (data / name).is_file():
                write_filtered(data / name, keys, folders)
    warn_of_gaps(data, set().union(*utts))


def time_of(path: Path) -> int:
    """When a file was last changed, in ns; -1 if it is not there (another call may have just moved it)."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def is_current(data: Path, target: Path, num_parts: int) -> bool:
    """Whether the parts are all there, for the files that the data has now, and none older than those."""
    if not all((target / str(number)).is_dir() for number in range(1, num_parts + 1)):
        return False
    for name in {*SOURCES, *other_scripts(data), *other_scripts(target / "1")}:
        source, copy = time_of(data / name), time_of(target / "1" / name)
        if copy < source or (source < 0 <= copy and name != "spk2utt"):  # spk2utt is always made
            return False
    return True


def publish(built: Path, data: Path, target: Path, num_parts: int) -> None:
    """Put the finished parts in place of stale ones, unless another call was quicker."""
    for attempt in range(PUBLISH_ATTEMPTS):
        with contextlib.suppress(OSError):  # the target is there already
            built.rename(target)
            return
        if is_current(data, target, num_parts):
            return
        with contextlib.suppress(FileNotFoundError):  # another call has just moved it
            target.rename(built.parent / f"stale{attempt}")
    raise DktError("cannot be replaced", path=target, hint="do other programs write there?")


def split(data: Path, num_parts: int, per_utt: bool, place: Path) -> Path:
    """Split ``data`` into parts in ``place`` unless they are there and as new; gives their directory."""
    target = place / f"split{num_parts}{'utt' if per_utt else ''}"
    if is_current(data, target, num_parts):
        return target
    # Every part gets the time of its newest source, so that a change during the split is seen next time.
    newest = max(time_of(data / name) for name in SOURCES)
    pairs = read_utt2spk(data / "utt2spk")
    parts = split_by_utterance(pairs, num_parts) if per_utt else split_by_speaker(pairs, num_parts)
    with partial_directory(target) as scratch:
        built = scratch / "new"
        write_parts(data, parts, built)
        for path in built.glob("*/*"):
            os.utime(path, ns=(newest, newest))
        publish(built, data, target, num_parts)
    return target


def split_somewhere(data: Path, num_parts: int, per_utt: bool, otherwise: Path) -> None:
    """Split ``data`` in place or, where that cannot be written in, below ``otherwise``; print where."""
    try:
        target = split(data, num_parts, per_utt, data)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
        # Other data may be split there, too.
        key = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]
        place = otherwise / ".split" / f"{data.name}.{key}"
        place.mkdir(parents=True, exist_ok=True)
        target = split(data, num_parts, per_utt, place)
        reason = f"{data} cannot be written in ({error.strerror})"
        print(f"split_data.sh: {reason}: its parts are in {target}", file=sys.stderr)
    sys.stdout.buffer.write(os.fsencode(target) + b"\n")


def reported(program: str, data: Path, option: str, count: int, work: Callable[[], object]) -> int:
    """Do the work of a program; an error is one line that names the data. Returns the exit status.

    Args:
        program: its name.
        data: the data directory.
        option, count: a number that has to be above 0, and what it is called.
        work: what is done.
    """
    try:
        if count < 1:
            raise DktError(f"{option} is {count}, expected a number above 0")
        work()
    except (DktError, OSError) as error:
        print(f"{program}: error: {data}: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Read the command line and split; returns the exit status."""
    program = "split_data.sh"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--per-utt", action="store_true", help="speakers need not stay whole")
    parser.add_argument(
        "--otherwise",
        type=Path,
        metavar="DIR",
        help="where the parts go if the data directory cannot be written in; prints where they are",
    )
    parser.add_argument("data", type=Path, help="the data directory")
    parser.add_argument("num_split", type=int, help="how many parts")
    args = parser.parse_args()
    work: Callable[[], object] = partial(split, args.data, args.num_split, args.per_utt, args.data)
    if args.otherwise is not None:
        work = partial(split_somewhere, args.data, args.num_split, args.per_utt, args.otherwise)
    return reported(program, args.data, "<num-split>", args.num_split, work)


if __name__ == "__main__":
    sys.exit(main())
