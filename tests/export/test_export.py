"""``dkt export`` and ``dkt import``: what is written, that it is compared, and that nothing wrong is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import kaldifst
import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.export import formats, nnet3
from dkt.export.formats import FORMATS
from dkt.export.parity import PARITY_TOLERANCE, Parity
from dkt.export.trained import open_trained
from dkt.fstext.fst import FstArrays
from dkt.hmm.counts import load_counts
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet3.model import read_nnet3_model
from dkt.train.experiment import MODEL
from tests.student_lab import CPU, lab, train
from tests.synthetic import write_data_dir

__all__ = ["lab"]

PHONES = "<eps> 0\nSIL 1\nA 2\n#0 3\n"
# Of two_phone_model: word 1 is phone 1 (transition-ids 1 and 2), word 2 is phone 2 (3 to 6).
HCLG = """0 1 2 1
1 1 1 0
1 0 0 0
0 2 4 2
2 2 3 0
2 3 6 0
3 3 5 0
3 0 0 0
1
3
"""
FILES = {
    "nnet1": {"final.nnet", "final.feature_transform", "final.mdl", "tree", "phones.txt", "feature_pipeline"},
    "nnet3": {"final.mdl", "final.raw", "tree", "phones.txt"},
    "onnx": {"model.onnx", "final.mdl", "tree", "phones.txt"},
}


@pytest.fixture(scope="module")
def models(lab, tmp_path_factory):
    """A DNN and an LSTM as trainings leave them."""
    path = tmp_path_factory.mktemp("models")
    shutil.copytree(lab / "dnn", path / "dnn")
    assert train(lab, path / "lstm") == 0
    for name in ("dnn", "lstm"):
        (path / name / "tree").write_text("a tree\n")
        (path / name / "phones.txt").write_text(PHONES)
    return path


def export(lab, model, out, form, *options):
    return main(["export", f"--format={form}", f"--data={lab}/dev", *options, str(model), str(out)])


def import_nnet1(source, out, *options):
    return main(["import", "--format=nnet1", *options, str(source), str(out)])


@pytest.mark.parametrize("kind", ["dnn", "lstm"])
@pytest.mark.parametrize("form", FILES)
def test_a_network_leaves(lab, models, tmp_path, caplog, form, kind):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    caplog.set_level("INFO")
    assert export(lab, models / kind, tmp_path / "deep/out", form, "--num-utts=3") == 0
    found = {path.name for path in (tmp_path / "deep/out").iterdir()}
    assert found >= FILES[form]
    assert "of 3 utterances, but for" in caplog.text
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_every_format_is_offered():
    from dkt.bin.export import _FORMATS

    assert set(_FORMATS) == set(FORMATS)


def test_priors_of_nnet3_are_the_counts(lab, models, tmp_path):
    assert export(lab, models / "dnn", tmp_path / "out", "nnet3", "--binary=false") == 0
    assert (tmp_path / "out/final.mdl").read_bytes()[:1] == b"<"
    model = read_nnet3_model(tmp_path / "out/final.mdl")
    counts = load_counts(models / "dnn/ali_train_pdf.counts")
    np.testing.assert_allclose(model.priors, counts / counts.sum(), rtol=1e-5)
    assert model.transition_model.num_pdfs == len(counts)


def test_a_file_that_computes_something_else_is_not_left(lab, models, tmp_path, monkeypatch, capsys):
    whole = nnet3.nnet3_model_of

    def wrong(*args):
        made = whole(*args)
        fields = made.network.components["output.affine"].fields
        fields["BiasParams"] = fields["BiasParams"] + np.array([0.01, 0, 0], np.float32)
        return made

    monkeypatch.setattr(nnet3, "nnet3_model_of", wrong)
    assert export(lab, models / "dnn", tmp_path / "out", "nnet3") == 1
    assert "final.mdl differs from the network by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_priors_that_are_not_those_of_the_counts_are_not_left(lab, models, tmp_path, monkeypatch, capsys):
    whole = nnet3.nnet3_model_of
    monkeypatch.setattr(nnet3, "nnet3_model_of", lambda *args: whole(*args[:3], args[3][::-1], *args[4:]))
    assert export(lab, models / "dnn", tmp_path / "out", "nnet3") == 1
    assert "the priors of final.mdl are not those of the counts" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("difference", [2 * PARITY_TOLERANCE, np.nan, np.inf])
def test_outputs_are_compared_at_every_frame(difference):
    expected = np.log(np.full((5, 4), 0.25))
    found = expected.copy()
    parity = Parity("final.mdl")
    parity.compare("a", expected, found + PARITY_TOLERANCE / 2)
    assert (parity.utterances, parity.frames) == (1, 5)
    assert parity.difference == pytest.approx(PARITY_TOLERANCE / 2)
    found[4, 3] += difference
    with pytest.raises(DktError, match="frame 4"):
        parity.compare("b", expected, found)
    with pytest.raises(DktError, match=r"gives outputs \(4, 4\), the network gives \(5, 4\)"):
        parity.compare("b", expected, found[:4])


def test_posteriors_of_nothing_do_not_count():
    expected = np.array([[0.0, -50.0]])
    Parity("final.nnet").compare("a", expected, np.array([[0.0, -np.inf]]))
    with pytest.raises(DktError):
        Parity("final.nnet").compare("a", expected, np.array([[0.0, -39.0]]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model, out: out.mkdir() or (out / "x").touch(), "holds something already"),
        (lambda model, out: out.touch(), "is a file, expected the name of a new directory"),
        (lambda model, out: (model / MODEL).unlink(), f"holds no {MODEL}"),
        (lambda model, out: (model / "tree").unlink(), "tree: does not exist"),
        (lambda model, out: (model / "ali_train_pdf.counts").unlink(), "counts: does not exist"),
        (lambda model, out: (model / "ali_train_pdf.counts").write_text("[ 1 2 ]\n"), "2 counts for 3 pdfs"),
    ],
)
def test_what_cannot_be_exported_is_told(lab, models, tmp_path, capsys, spoil, message):
    shutil.copytree(models / "dnn", tmp_path / "model")
    spoil(tmp_path / "model", tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    assert export(lab, tmp_path / "model", tmp_path / "out", "nnet3") == 1
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_data_of_the_training_are_found_in_its_mark(lab, models, tmp_path, capsys, caplog):
    shutil.copytree(models / "dnn", tmp_path / "model")
    arguments = ["export", "--format=nnet1", str(tmp_path / "model"), str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "give --data DIR" in capsys.readouterr().err
    for name in ("train", "dev"):
        (tmp_path / name).symlink_to(lab / name)
    mark = "".join(f"../{name}/feats.scp 120 1796092343.462253085\n" for name in ("train", "dev"))
    (tmp_path / "model/.train_dnn.done").write_text(f"seed=777\n{mark}feats.scp: 1402099870 178\n")
    assert open_trained(tmp_path / "model").data_of_training() == (lab / "dev").resolve()
    assert main(arguments) == 0
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "dev").unlink()
    assert open_trained(tmp_path / "model").data_of_training() == (lab / "train").resolve()


@pytest.mark.parametrize("kind", ["dnn", "lstm"])
def test_an_import_is_what_was_exported(lab, models, tmp_path, kind):
    assert export(lab, models / kind, tmp_path / "kaldi", "nnet1", "--binary=false") == 0
    assert import_nnet1(tmp_path / "kaldi", tmp_path / "model", f"--data={lab}/dev") == 0
    assert export(lab, tmp_path / "model", tmp_path / "again", "nnet1", "--binary=false") == 0
    for name in ("final.nnet", "final.feature_transform"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "kaldi" / name).read_text()
    # And it is trained on with the configuration that lies beside it.
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    options = [f"--config={tmp_path}/model/training.yaml", f"--init-model={tmp_path}/model/final.pt", *CPU]
    options += ["--set=fine_tuning.max_iters=1", "--set=fine_tuning.learn_rate=0.01"]
    assert main(["train", *options, *places, str(tmp_path / "exp")]) == 0
    before, after = (
        torch.load(path / MODEL, weights_only=True)["state"]
        for path in (tmp_path / "model", tmp_path / "exp")
    )
    assert before.keys() == after.keys() and not torch.equal(before["output.weight"], after["output.weight"])


def test_kaldis_networks_come_in_and_leave_again(kaldi_fixtures, tmp_path, monkeypatch):
    monkeypatch.chdir(kaldi_fixtures)  # its lists of features name files of this directory
    source = tmp_path / "kaldi"
    shutil.copytree("golden/nnet1_lstm", source)
    for path in ("exp/tri2b/final.mdl", "exp/tri2b/tree", "lang/phones.txt", "golden/ali_train_pdf.counts"):
        shutil.copy(path, source)
    shutil.copy("golden/nnet1_lstm/final.feature_transform.txt", source / "final.feature_transform")
    (source / "cmvn_opts").write_text("--norm-means=true\n")
    data = ("--data=data/dev", "--num-utts=2")
    assert import_nnet1(source, tmp_path / "model", *data) == 0
    arguments = ["export", "--format=nnet1", *data, str(tmp_path / "model"), str(tmp_path / "again")]
    assert main(arguments) == 0
    assert (tmp_path / "again/final.nnet").read_bytes() == (source / "final.nnet").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda source: (source / "final.nnet").unlink(), "holds no final.nnet"),
        (lambda source: (source / "final.mdl").unlink(), "final.mdl"),
        (lambda source: (source / "ali_train_pdf.counts").write_text("[ 1 2 ]\n"), "2 counts for 3 pdfs"),
        (lambda source: _cut(source / "final.nnet"), "final.nnet"),
        (lambda source: _without_softmax(source / "final.nnet"), "final.nnet: the network does not end with"),
    ],
)
def test_what_cannot_be_imported_is_told(lab, models, tmp_path, capsys, spoil, message):
    assert export(lab, models / "dnn", tmp_path / "kaldi", "nnet1") == 0
    spoil(tmp_path / "kaldi")
    capsys.readouterr()
    assert import_nnet1(tmp_path / "kaldi", tmp_path / "model") == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kaldi"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _without_softmax(path: Path) -> None:
    from dkt.nnet.nnet1.writer import write_nnet1

    path.write_bytes(write_nnet1(read_nnet1(path)[:-1]))


@pytest.fixture
def graph(tmp_path):
    """What vosk reads of a graph directory."""
    (tmp_path / "graph/phones").mkdir(parents=True)
    FstArrays.from_kaldifst(kaldifst.compile(HCLG, acceptor=False)).save(tmp_path / "graph/HCLG.fst", "const")
    for name, text in {
        "words.txt": "<eps> 0\na 1\nb 2\n",
        "num_pdfs": "3\n",
        "phones.txt": PHONES,
        "phones/silence.csl": "1:2\n",
        "phones/word_boundary.int": "1 nonword\n",
    }.items():
        (tmp_path / "graph" / name).write_text(text)
    (tmp_path / "fbank.conf").write_text("# features\n--num-mel-bins=6\n")
    return tmp_path / "graph"


def vosk(lab, model, tmp_path, *options):
    given = [f"--graph={tmp_path}/graph", f"--fbank-config={tmp_path}/fbank.conf", "--lmwt=8", *options]
    return export(lab, model, tmp_path / "out", "vosk", *given)


@pytest.fixture(scope="module")
def without_cmvn(lab, tmp_path_factory):
    """An LSTM of features as they are."""
    directory = tmp_path_factory.mktemp("plain") / "lstm"
    assert train(lab, directory, "--set=features.cmvn_opts=null") == 0
    (directory / "tree").write_text("a tree\n")
    (directory / "phones.txt").write_text(PHONES)
    return directory


def test_a_directory_of_vosk(lab, without_cmvn, graph, tmp_path):
    (tmp_path / "fbank.conf").write_text("--dither=0.5\n# features\n--num-mel-bins=6\n")
    assert vosk(lab, without_cmvn, tmp_path) == 0
    out = tmp_path / "out"
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "am/final.mdl",
        "am/tree",
        "conf/fbank.conf",
        "conf/model.conf",
        *(f"graph/{name}" for name in ("HCLG.fst", "words.txt", "phones.txt")),
        "graph/phones/silence.csl",
        "graph/phones/word_boundary.int",
    }
    lines = (out / "conf/model.conf").read_text().split()
    assert {"--acoustic-scale=0.1125", "--frame-subsampling-factor=1", "--max-active=7000"} <= set(lines)
    assert "--endpoint.silence-phones=1:2" in lines
    # Kaldi takes the last of two.
    assert (out / "conf/fbank.conf").read_text() == "--dither=0.5\n# features\n--num-mel-bins=6\n--dither=0\n"


def test_vosk_gets_no_model_whose_features_it_cannot_make(lab, models, without_cmvn, graph, tmp_path, capsys):
    def told(message, model=without_cmvn, *options):
        assert vosk(lab, model, tmp_path, *options) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    told("was trained with CMVN per speaker", models / "lstm")
    (tmp_path / "fbank.conf").write_text("--num-mel-bins=6\n--use-energy=true\n")
    told("makes features of dimension 7, the model takes 6")
    (tmp_path / "fbank.conf").write_text("--dither=0.5\n--num-mel-bins=6\n")
    (graph / "phones.txt").write_text(PHONES.replace("A", "B"))
    told("has other phones than")
    (graph / "phones/silence.csl").unlink()
    told("silence.csl: does not exist")
    told("--format vosk needs --graph and one of", without_cmvn, f"--mfcc-config={tmp_path}/fbank.conf")


def test_formats_are_written_beside_what_was_there(lab, models, tmp_path):
    (tmp_path / "out").mkdir()
    assert export(lab, models / "dnn", tmp_path / "out", "nnet3") == 0
    assert (tmp_path / "out/final.mdl").exists()
    with pytest.raises(DktError, match="holds something already"):
        formats.new_directory(tmp_path / "out").__enter__()


def test_a_directory_is_made_whole_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), formats.new_directory(tmp_path / "some/deep/out"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DktError, match="out: cannot be written"), formats.new_directory(tmp_path / "a/out"):
        # Another process was faster.
        (tmp_path / "a/out").mkdir()
        (tmp_path / "a/out/its").touch()
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["out", "its"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_leads_to_the_directory(tmp_path, there):
    if there:
        (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with formats.new_directory(tmp_path / "link") as made:
        (made / "final.mdl").touch()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk/final.mdl").exists()


def test_the_current_directory_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (".", tmp_path):
        with pytest.raises(DktError, match="is the current directory"):
            formats.new_directory(Path(name)).__enter__()


@pytest.mark.parametrize(
    ("form", "option", "message"),
    [
        ("nnet3", "--graph=graph", "--format nnet3 has no use for --graph"),
        ("onnx", "--fbank-config=fbank.conf", "--format onnx has no use for --fbank-config"),
        ("onnx", "--binary=false", "--format onnx has no text form"),
    ],
)
def test_options_of_another_format_are_told(lab, models, tmp_path, capsys, form, option, message):
    assert export(lab, models / "dnn", tmp_path / "out", form, option) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("form", ["nnet1", "nnet3", "onnx"])
def test_data_of_another_dimension_are_named(models, tmp_path, capsys, form):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    write_data_dir(tmp_path / "wide", {"d1": np.zeros((9, 7), np.float32)})
    arguments = [f"--format={form}", f"--data={tmp_path}/wide", str(models / "dnn"), str(tmp_path / "out")]
    assert main(["export", *arguments]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/wide: the feature pipeline" in error and "give --data" in error


def test_data_of_another_dimension_are_named_by_an_import(lab, models, tmp_path, capsys):
    assert export(lab, models / "dnn", tmp_path / "kaldi", "nnet1") == 0
    write_data_dir(tmp_path / "wide", {"d1": np.zeros((9, 7), np.float32)})
    assert import_nnet1(tmp_path / "kaldi", tmp_path / "model", f"--data={tmp_path}/wide") == 1
    assert f"{tmp_path}/wide: the feature pipeline" in capsys.readouterr().err


def test_a_network_of_nnet1_as_it_is_leaves_as_that_only(lab, models, tmp_path, capsys):
    assert export(lab, models / "dnn", tmp_path / "kaldi", "nnet1") == 0
    assert import_nnet1(tmp_path / "kaldi", tmp_path / "model", "--as-it-is=true") == 0
    for name in ("tree", "phones.txt"):
        shutil.copy(models / "dnn" / name, tmp_path / "model")
    assert export(lab, tmp_path / "model", tmp_path / "out", "nnet3") == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/model: nnet3 has no form" in error and "export it as that, or import it" in error


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("graph/HCLG.fst", b"a graph", "expected an OpenFst binary file"),
        ("graph/words.txt", b"<eps> 0\na 1\n", "are not in words.txt"),
        ("graph/num_pdfs", b"4\n", "says '4', the model has 3 pdfs"),
        ("graph/phones/silence.csl", b"\n", "expected the numbers of the silence phones"),
        ("fbank.conf", b"--num-mel-bins=6\n--foo=1\n", "fbank.conf: unknown option --foo of fbank"),
        ("fbank.conf", b"--num-mel-bins=6\n--high-freq=9000\n", "fbank.conf: impossible options"),
    ],
)
def test_vosk_gets_nothing_that_it_would_end_at(
    lab, without_cmvn, graph, tmp_path, capsys, file, content, message
):
    (tmp_path / file).write_bytes(content)
    assert vosk(lab, without_cmvn, tmp_path) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_graph_of_another_model_is_refused_for_vosk(lab, without_cmvn, graph, tmp_path, capsys):
    other = HCLG.replace("0 1 2 1", "0 1 4 1")
    FstArrays.from_kaldifst(kaldifst.compile(other, acceptor=False)).save(graph / "HCLG.fst", "const")
    assert vosk(lab, without_cmvn, tmp_path) == 1
    assert "HCLG.fst: the graph is not an HCLG of this model" in capsys.readouterr().err


def test_what_is_no_network_of_nnet3_is_told(lab, models, tmp_path, capsys):
    assert main(["import", "--format=nnet3", str(models / "dnn"), str(tmp_path / "model")]) == 1
    assert "holds no network of nnet3" in capsys.readouterr().err
    assert export(lab, models / "dnn", tmp_path / "kaldi", "nnet3") == 0
    places = [str(tmp_path / "kaldi"), str(tmp_path / "model")]
    assert main(["import", "--format=nnet3", "--nnet3-output=chain", *places]) == 1
    assert "no output 'chain'" in capsys.readouterr().err
    mdl = tmp_path / "kaldi/final.mdl"
    mdl.write_bytes(mdl.read_bytes()[:-300])
    assert main(["import", "--format=nnet3", *places]) == 1
    assert "final.mdl" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kaldi"]
