"""The inspectors against the output of the Kaldi programs of their names."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest

from dkt.bin import main
from dkt.hmm.event_map import ConstantEventMap
from dkt.hmm.phone_output import ctm_lines
from dkt.hmm.posterior import Posterior, PosteriorWriter
from dkt.hmm.transition_model import load_transition_model, write_transition_model
from dkt.hmm.tree import ContextDependency, save_tree
from dkt.util.object_io import ObjectWriter
from dkt.util.table import IntVectorWriter
from tests.hmm.test_transitions import two_phone_model

CHAIN_INFO = (
    "number of phones 2\nnumber of pdfs 3\nnumber of transition-ids 4\nnumber of transition-states 2\n"
)
CHAIN_TRANSITIONS = """\
Transition-state 1: phone = SIL hmm-state = 0 forward-pdf = 0 self-loop-pdf = 0
 Transition-id = 1 p = 0.5{} [self-loop]
 Transition-id = 2 p = 0.5{} [0 -> 1]
Transition-state 2: phone = A hmm-state = 0 forward-pdf = 1 self-loop-pdf = 2
 Transition-id = 3 p = 0.5{} [self-loop]
 Transition-id = 4 p = 0.5{} [0 -> 1]
"""


def save_model(path, chain=False, binary=True):
    """A model of two phones; a chain-like one has ``<Tuples>``. Something else follows it."""
    writer = ObjectWriter(binary)
    write_transition_model(writer, two_phone_model(chain))
    path.write_bytes(writer.getvalue() + b"<DIMENSION> \x04 what follows")


@pytest.fixture
def folder(tmp_path):
    """A model, its alignments of two utterances, a tree, posteriors and a symbol table."""
    save_model(tmp_path / "final.mdl")
    with IntVectorWriter(f"ark:{tmp_path}/ali") as ali:
        ali.write("u1", np.array([2, 1, 1, 4, 3, 6, 5]))
        ali.write("u2", np.array([4, 6]))
    save_tree(tmp_path / "tree", ContextDependency(1, 0, ConstantEventMap(4)))
    with PosteriorWriter(f"ark:{tmp_path}/post") as posteriors:
        posteriors.write("u1", Posterior.of_frames([[(0, 0.5), (2, 0.25)], []]))
    (tmp_path / "phones.txt").write_text("<eps> 0\nSIL 1\nA 2\n")
    return tmp_path


def printed(capfdbinary, *arguments) -> bytes:
    """What a command that succeeds prints."""
    assert main([str(argument) for argument in arguments]) == 0, capfdbinary.readouterr().err
    return capfdbinary.readouterr().out


def failed(capfd, *arguments) -> str:
    """What a command that fails says."""
    assert main([str(argument) for argument in arguments]) == 1
    return capfd.readouterr().err.splitlines()[-1]


def kaldi_jobs(directory) -> str:
    return f"ark:gunzip -c '{directory}'/ali.*.gz |"


@pytest.mark.parametrize("name", ["exp/tri2b/final.mdl", "golden/transition_model.txt"])
def test_hmm_info_of_kaldi(kaldi_fixtures, capfdbinary, name):
    golden = (kaldi_fixtures / "golden/hmm_info.txt").read_bytes()
    assert printed(capfdbinary, "hmm-info", kaldi_fixtures / name) == golden


def test_tree_info_of_kaldi(kaldi_fixtures, capfdbinary):
    golden = (kaldi_fixtures / "golden/tree_info.txt").read_bytes()
    assert printed(capfdbinary, "tree-info", kaldi_fixtures / "exp/tri2b/tree") == golden


def test_show_transitions_of_kaldi(kaldi_fixtures, capfdbinary):
    phones, model = kaldi_fixtures / "lang/phones.txt", kaldi_fixtures / "exp/tri2b/final.mdl"
    golden = (kaldi_fixtures / "golden/show_transitions.txt").read_bytes()
    assert printed(capfdbinary, "show-transitions", phones, model) == golden


@pytest.mark.parametrize(
    ("command", "name"),
    [(["ali-to-pdf"], "train_pdf.txt.gz"), (["ali-to-phones", "--per-frame"], "train_phones.txt.gz")],
)
def test_alignments_of_kaldi(kaldi_fixtures, capfdbinary, command, name):
    ali = kaldi_fixtures / "exp/tri2b_ali"
    output = printed(capfdbinary, *command, ali / "final.mdl", kaldi_jobs(ali), "ark,t:-")
    assert output == gzip.decompress((kaldi_fixtures / "golden" / name).read_bytes())


def test_both_forms_of_kaldi_alignments_in_one_stream(kaldi_fixtures, capfdbinary, tmp_path):
    """Kaldi wrote the same alignments twice; keys of the text get a mark, as a key stands once."""
    tables = kaldi_fixtures / "golden/tables"
    marked = "".join(f"x-{line}\n" for line in (tables / "ali_text.ark").read_text().splitlines())
    (tmp_path / "text").write_text(marked)
    both = f"ark:cat '{tables}/ali_binary.ark' '{tmp_path}/text' |"
    lines = printed(capfdbinary, "ali-to-pdf", kaldi_fixtures / "exp/tri2b/final.mdl", both, "ark,t:-")
    first, second = np.array_split(lines.decode().splitlines(), 2)
    assert [f"x-{line}" for line in first] == second.tolist()
    assert len(first) == len(marked.splitlines())


@pytest.mark.parametrize("source", ["post_binary.ark", "post_text.ark"])
@pytest.mark.parametrize(("kind", "golden"), [("ark", "post_binary.ark"), ("ark,t", "post_text.ark")])
def test_copy_post_of_kaldi(kaldi_fixtures, capfdbinary, source, kind, golden):
    tables = kaldi_fixtures / "golden/tables"
    output = printed(capfdbinary, "copy-post", f"ark:{tables / source}", f"{kind}:-")
    assert output == (tables / golden).read_bytes()


@pytest.mark.parametrize("binary", [True, False])
def test_hmm_info_of_tuples_with_something_behind(folder, capfdbinary, binary):
    save_model(folder / "final.mdl", chain=True, binary=binary)
    assert printed(capfdbinary, "hmm-info", folder / "final.mdl").decode() == CHAIN_INFO


def test_show_transitions_with_counts_and_two_pdfs_a_state(folder, capfdbinary):
    save_model(folder / "final.mdl", chain=True)
    arguments = ["show-transitions", folder / "phones.txt", folder / "final.mdl"]
    assert printed(capfdbinary, *arguments).decode() == CHAIN_TRANSITIONS.format("", "", "", "")
    (folder / "occs").write_text(" [ 1.5 1234567 0.00001 ]\n")
    counts = [f" count of pdf = {count}" for count in ("1.5", "1.5", "1e-05", "1.23457e+06")]
    assert printed(capfdbinary, *arguments, folder / "occs").decode() == CHAIN_TRANSITIONS.format(*counts)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "u1 1 2 \nu2 2 \n"),
        (["--per-frame=false"], "u1 1 2 \nu2 2 \n"),
        (["--per-frame"], "u1 1 1 1 2 2 2 2 \nu2 2 2 \n"),
        (["--write-lengths=true"], "u1 1 3 ; 2 4 \nu2 2 2 \n"),
    ],
)
def test_forms_of_ali_to_phones(folder, capfdbinary, options, expected):
    output = printed(
        capfdbinary, "ali-to-phones", *options, folder / "final.mdl", f"ark:{folder}/ali", "ark,t:-"
    )
    assert output.decode() == expected


def test_pairs_in_binary(folder, capfdbinary):
    output = printed(
        capfdbinary, "ali-to-phones", "--write-lengths", folder / "final.mdl", f"ark:{folder}/ali", "ark:-"
    )
    numbers = [b"\4" + bytes([n, 0, 0, 0]) for n in (2, 1, 3, 2, 4)]
    assert output.startswith(b"u1 \0B" + b"".join(numbers) + b"u2 \0B")


def test_ctm_has_the_digits_of_kaldi(folder, capfdbinary):
    arguments = ["ali-to-phones", "--ctm-output", folder / "final.mdl", f"ark:{folder}/ali", "-"]
    lines = printed(capfdbinary, *arguments).decode()
    assert lines == "u1 1 0.000 0.030 1\nu1 1 0.030 0.040 2\nu2 1 0.000 0.020 2\n"
    assert list(ctm_lines("u", np.array([7]), np.array([3]), 0.02)) == ["u 1 0.00 0.06 7"]


def test_copy_post_scales(folder, capfdbinary):
    arguments = [f"ark:{folder}/post", "ark,t:-"]
    assert printed(capfdbinary, "copy-post", "--scale=0.5", *arguments) == b"u1 [ 0 0.25 2 0.125 ] [ ] \n"
    assert printed(capfdbinary, "copy-post", "--scale=0", *arguments) == b"u1 [ ] [ ] \n"


def test_a_wrong_model_is_told(folder, capfd, caplog):
    with IntVectorWriter(f"ark:{folder}/ali") as ali:
        ali.write("u1", np.array([4, 4]))
    assert main(["ali-to-pdf", f"{folder}/final.mdl", f"ark:{folder}/ali", f"ark:{folder}/pdf"]) == 0
    assert (
        "ali: 1 of 1 alignments are not paths through the HMMs of the model (utterance 'u1', frame 1 first)"
        in caplog.text
    )
    save_model(folder / "final.mdl", chain=True)
    with IntVectorWriter(f"ark:{folder}/ali") as ali:
        ali.write("u2", np.array([4, 6]))
    for command in ("ali-to-pdf", "ali-to-phones"):
        message = failed(capfd, command, folder / "final.mdl", f"ark:{folder}/ali", "ark:-")
        assert "utterance 'u2': transition-ids from 4 to 6, expected 1 to 4 - give the final.mdl" in message


def test_bad_input_of_the_inspectors(folder, capfd):
    (folder / "cut").write_bytes((folder / "final.mdl").read_bytes()[:150])
    assert "cut: the file is cut short" in failed(capfd, "hmm-info", folder / "cut")
    assert "expected ContextDependency" in failed(capfd, "tree-info", folder / "final.mdl")
    (folder / "occs").write_text(" [ 1 2 ]\n")
    places = [folder / "phones.txt", folder / "final.mdl"]
    assert "counts of 2 pdfs, the model has 3" in failed(capfd, "show-transitions", *places, folder / "occs")
    (folder / "phones.txt").write_text("<eps> 0\nSIL 1\n")
    assert "phones.txt: has no phone 2" in failed(capfd, "show-transitions", *places)
    (folder / "post").write_bytes(b"")
    assert "holds no posteriors" in failed(capfd, "copy-post", f"ark:{folder}/post", "ark:-")
    wrong = ["--per-frame", "--write-lengths", folder / "final.mdl", f"ark:{folder}/ali", "ark:-"]
    assert "exclude each other" in failed(capfd, "ali-to-phones", *wrong)
    with IntVectorWriter(f"ark:{folder}/ali") as ali:
        ali.write("u1", np.array([1, 3, 2]))
    wrong = [folder / "final.mdl", f"ark:{folder}/ali", "ark:-"]
    assert "utterance 'u1': frames 0 and 1 are self-loops" in failed(capfd, "ali-to-phones", *wrong)


def test_a_model_cut_short_anywhere_is_an_error(folder, capfd):
    data = (folder / "final.mdl").read_bytes()
    assert load_transition_model(folder / "final.mdl").num_pdfs == 3
    end = data.index(b"</TransitionModel>")
    for size in range(0, end, 7):
        (folder / "cut").write_bytes(data[:size])
        assert str(folder / "cut") in failed(capfd, "hmm-info", folder / "cut")


def test_commands_in_a_pipe(folder):
    """Tables go through stdin and stdout, with nothing else in between."""
    dkt = f"{sys.executable} -m dkt"
    command = (
        f"cat {folder}/ali | {dkt} ali-to-pdf {folder}/final.mdl ark:- ark:- | {dkt} analyze-counts ark:- -"
        f" && cat {folder}/post | {dkt} copy-post ark:- ark,t:-"
        f" && cat {folder}/ali | {dkt} ali-to-phones {folder}/final.mdl ark,s,cs:- ark,t:-"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == " [ 3.5 3.5 3.5 ]\nu1 [ 0 0.5 2 0.25 ] [ ] \nu1 1 2 \nu2 2 \n"


def test_inspectors_start_without_heavy_packages(folder):
    """What is imported decides how long a user waits; a network is needed by none of them."""
    model, ali = f"{folder}/final.mdl", f"ark:{folder}/ali"
    light = [
        ["hmm-info", model],
        ["tree-info", f"{folder}/tree"],
        ["show-transitions", f"{folder}/phones.txt", model],
    ]
    reading = [
        ["ali-to-pdf", model, ali, f"ark:{folder}/pdf"],
        ["ali-to-phones", model, ali, f"ark:{folder}/phones"],
        ["analyze-counts", f"ark:{folder}/pdf", f"{folder}/counts"],
        ["copy-post", f"ark:{folder}/post", f"ark:{folder}/copy"],
    ]
    code = (
        "import sys\nfrom dkt.bin import main\n"
        f"assert not any(map(main, {light}))\n"
        "assert 'kaldiio' not in sys.modules\n"
        f"assert not any(map(main, {reading}))\n"
        "heavy = {'torch', 'scipy', 'yaml', 'kaldi_native_io', 'kaldifst'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
