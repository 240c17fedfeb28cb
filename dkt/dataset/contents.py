"""What the features of a data directory are made of, hashed: the same digest, the same features."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dkt.base.version import __version__
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.util.data_dir import DataDir
from dkt.util.kaldi_io import is_input_pipe
from dkt.util.scripts import file_of, read_script
from dkt.util.specifiers import parse_rspecifier

#: Of the digest and of what is kept under it; another one, and everything is packed anew.
FORMAT = 1
_DIGITS = 16


@dataclass
class Ingredients:
    """The files that features are made of.

    Attributes:
        files: each once, in an order that only their places decide.
        piped: what a command gives, whose output nobody knows before it has run; None if nothing does.
    """

    files: list[Path] = field(default_factory=list)
    piped: str | None = None

    def digest(self) -> str:
        """A hash of the bytes of all files, whole archives included, whatever their times say.

        Raises:
            OSError: a file cannot be read.
        """
        total = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()[:_DIGITS]

    def stamps(self) -> list[tuple[int, int, int]]:
        """Size, time and inode of every file: they tell of a change while the files were read.

        Raises:
            OSError: a file is gone.
        """
        states = [path.stat() for path in self.files]
        return [(state.st_size, state.st_mtime_ns, state.st_ino) for state in states]


def ingredients_of(data: DataDir, options: FeatureOptions, side: SpeakerInputs) -> Ingredients:
    """The files that ``FeatureReader`` reads for these arguments.

    Matrices of the options are not among them: ``pipeline_digest`` covers those.

    Raises:
        DktError: a script file is damaged.
    """
    files: dict[Path, None] = {data.path / "utt2spk": None}
    result = Ingredients()

    def add_script(path: Path) -> None:
        files[path] = None
        for entry in read_script(str(path)).values():
            file = file_of(entry)
            if file is None:
                result.piped = result.piped or entry
            else:
                files[Path(file)] = None

    for name in options.paste.split():
        add_script(data.path / name)
    if options.cmvn_opts is not None and (data.path / "cmvn.scp").is_file():
        add_script(data.path / "cmvn.scp")
    if side.transform_dir is not None:
        files |= dict.fromkeys(sorted(Path(side.transform_dir).glob("trans.*")))
    if side.ivectors is not None and Path(side.ivectors).is_dir():
        files[Path(side.ivectors) / "ivector_period"] = None
        add_script(Path(side.ivectors) / "ivector_online.scp")
    elif side.ivectors is not None:
        spec = parse_rspecifier(side.ivectors)
        if is_input_pipe(spec.filename) or spec.filename == "-":
            result.piped = result.piped or spec.filename
        elif spec.kind == "scp":
            add_script(Path(spec.filename))
        else:
            files[Path(spec.filename)] = None
    result.files = list(files)
    return result


def pipeline_digest(options: FeatureOptions, side: SpeakerInputs, whose: str = "") -> str:
    """A hash of what is done to features, and of where transforms and i-vectors are.

    Args:
        options, side: as ``FeatureReader`` takes them.
        whose: tells data directories apart that keep their features in one place.
    """
    matrices = ("transform", "global_cmvn_stats")
    # Under the names that earlier caches were packed by.
    earlier = {name: old for old, name in FeatureOptions.RENAMED.items()}
    plain = {earlier.get(name, name): value for name, value in vars(options).items() if name not in matrices}
    digests = {name: getattr(getattr(options, name), "digest", None) for name in matrices}
    content = [FORMAT, __version__, plain, digests, asdict(side), whose]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGITS]
