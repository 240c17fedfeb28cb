"""Nothing is written over a directory that holds something of another kind."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dkt.base.directory_kinds import Kind, kinds_in, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.speed_perturb import perturb_speed
from tests.recipe_lab import call_of, write
from tests.shell import fails
from tests.stand_ins import StandIns
from tests.student_lab import CPU, lab

__all__ = ["lab"]

_GMM = ["final.mdl", "35.mdl", "35.occs", "ali.1.gz", "num_jobs", "tree", "phones.txt", "cmvn_opts"]
_ALIGNMENTS = ["final.mdl", "final.occs", "ali.1.gz", "num_jobs", "tree", "phones.txt", "cmvn_opts"]
_HOLD = {
    Kind.DATA: ["feats.scp", "utt2spk", "text"],
    Kind.LANG: ["L.fst", "topo", "words.txt", "phones.txt"],
    Kind.GRAPH: ["HCLG.fst", "words.txt", "phones.txt"],
    Kind.TARGETS: ["header.yaml", "soft.1.ark", "soft.scp", "final.mdl", "tree", "ali_train_pdf.counts"],
    Kind.NETWORK: ["final.pt", "final.nnet", "config.yaml", "final.mdl", "tree", "phones.txt", "cmvn_opts"],
    Kind.GMM: _GMM,
    Kind.ALIGNMENTS: _ALIGNMENTS,
}


def make(directory: Path, names: list[str]) -> Path:
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text(name)
    return directory


@pytest.mark.parametrize("holds", Kind)
def test_a_directory_is_written_over_by_its_own_kind_only(tmp_path, holds):
    directory = make(tmp_path / "exp", _HOLD[holds])
    assert list(kinds_in(directory)) == [holds]
    refuse_other_kinds(directory, holds)
    for kind in set(Kind) - {holds}:
        if holds is Kind.GRAPH and kind in (Kind.NETWORK, Kind.GMM):
            continue
        with pytest.raises(
            DktError, match=rf"exp: holds {holds.value} \(.*\), over which {kind.value} would"
        ):
            refuse_other_kinds(directory, kind)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([], None),
        (["log", ".lock", "q", "decode", "text.old"], None),
        (["final.mdl", "tree"], Kind.GMM),
        (["final.nnet", "final.mdl", "ali_train_pdf.counts"], Kind.NETWORK),
        # Before the first checkpoint.
        (["config.yaml", "final.mdl", "tree"], Kind.NETWORK),
        (["utt2spk"], Kind.DATA),
        (["wav.scp"], Kind.DATA),
    ],
)
def test_what_a_few_files_tell(tmp_path, names, kind):
    directory = make(tmp_path / "exp", names)
    assert list(kinds_in(directory)) == ([] if kind is None else [kind])
    assert not kinds_in(tmp_path / "none")


def test_a_linked_model_is_a_gmm_and_a_copied_one_alone_the_rest_of_an_alignment(tmp_path):
    source = make(tmp_path / "gmm", _GMM)
    linked = make(tmp_path / "linked", ["ali.1.gz"])
    (linked / "final.mdl").symlink_to(source / "final.mdl")
    assert list(kinds_in(linked)) == [Kind.GMM]
    killed = make(tmp_path / "ali", ["tree"])
    shutil.copy(source / "final.mdl", killed)
    refuse_other_kinds(killed, Kind.ALIGNMENTS, source / "final.mdl")
    (killed / "final.mdl").write_text("another")
    with pytest.raises(DktError, match="holds a GMM"):
        refuse_other_kinds(killed, Kind.ALIGNMENTS, source / "final.mdl")


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.mark.parametrize("holds", [Kind.GMM, Kind.ALIGNMENTS, Kind.DATA, Kind.LANG])
@pytest.mark.parametrize("command", ["train-dnn", "train-lstm", "make-soft-targets", "train-mono", "align"])
def test_commands_leave_what_is_of_another_kind(lab, tmp_path, capsys, command, holds):
    own = {"train-mono": Kind.GMM, "align": Kind.ALIGNMENTS}.get(command)
    if holds is own:
        holds = Kind.NETWORK
    exp = make(tmp_path / "exp", _HOLD[holds])
    before = content(exp)
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    arguments = {
        "train-dnn": [f"--config={lab}/dnn.yaml", *CPU, *places],
        "train-lstm": [f"--config={lab}/lstm.yaml", *CPU, *places],
        "make-soft-targets": ["--use-gpu=no", str(lab / "dnn/final.pt"), str(lab / "train")],
        "train-mono": [str(lab / "train"), str(lab)],
        "align": [str(lab / "train"), str(lab), str(lab / "ali_train")],
    }
    assert main([command, *arguments[command], str(exp)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"exp: holds {holds.value} (" in error and "choose another directory" in error
    assert content(exp) == before


def test_copies_at_one_speed_are_not_made_twice(tmp_path):
    data = make(tmp_path / "data", [])
    utts = ["a-1", "sp0.9-a-1"]
    (data / "utt2spk").write_text("".join(f"{utt} {utt[:-2]}\n" for utt in utts))
    (data / "text").write_text("".join(f"{utt} a\n" for utt in utts))
    (data / "wav.scp").write_text("".join(f"{utt} {utt}.wav\n" for utt in utts))
    with pytest.raises(
        DktError, match=r"data: has utterances of these names already: sp0\.9-a-1 - begin with"
    ):
        perturb_speed(data, tmp_path / "out", ["0.9"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("step", "holds", "what"),
    [
        ("align", "exp/ali/final.pt", "a network"),
        ("align", "exp/ali/final.nnet", "a network"),
        ("align", "exp/ali/L.fst", "a lang directory"),
        ("align", "exp/ali/35.mdl", "a GMM"),
        ("align", "exp/ali/utt2spk", "a data directory"),
        ("make_soft_targets", "exp/soft/final.pt", "a network"),
        ("make_soft_targets", "exp/soft/ali.1.gz", "alignments"),
        ("make_fmllr_feats", "data_fmllr/HCLG.fst", "a decoding graph"),
    ],
)
def test_jobs_do_not_write_over_another_kind_of_directory(
    tools: StandIns, place: Path, step: str, holds: str, what: str
) -> None:
    write(place / holds, "of another kind")
    output = fails(place, *call_of(step), **tools.alone)
    assert re.search(
        rf"error: .*{Path(holds).parent}: holds {what} \({Path(holds).name}\), over which", output
    )
    assert [path.name for path in (place / holds).parent.rglob("*")] == [Path(holds).name]
    assert not tools.calls()
