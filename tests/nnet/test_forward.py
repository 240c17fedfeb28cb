"""dkt forward in the place of Kaldi's nnet-forward."""

from __future__ import annotations

import io
import select
import subprocess
import sys

import numpy as np
import pytest

from dkt.bin import main
from dkt.matrix.matrix_io import encode_matrix, read_matrix
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.writer import write_nnet1
from dkt.util.table import MatrixWriter, read_matrices

DIM = 3
RNG = np.random.default_rng(4)
WEIGHT = RNG.normal(size=(4, DIM)).astype(np.float32)
INPUTS = {utt: RNG.normal(size=(n, DIM)).astype(np.float32) for utt, n in (("b", 5), ("a", 1), ("c", 9))}


@pytest.fixture
def place(tmp_path):
    """A network of softmax, one without, features, a transform."""
    affine = nnet1.Affine("<LinearTransform>", DIM, 4, WEIGHT, None)
    softmax = nnet1.Component("<Softmax>", 4, 4)
    (tmp_path / "final.nnet").write_bytes(write_nnet1([affine, softmax]))
    (tmp_path / "logits.nnet").write_bytes(write_nnet1([affine], binary=False))
    shift = nnet1.PerDimension("<AddShift>", DIM, DIM, np.ones(DIM, np.float32))
    (tmp_path / "transform").write_bytes(write_nnet1([shift]))
    (tmp_path / "counts").write_text(" [ 8 0 1.5 0.5 ]\n")
    write(tmp_path / "feats.ark", INPUTS)
    return tmp_path


def write(path, matrices):
    with MatrixWriter(f"ark:{path}") as writer:
        for utt, matrix in matrices.items():
            writer.write(utt, matrix)


def forward(place, *options, model="final.nnet", feats="feats.ark"):
    out = f"ark:{place}/out.ark"
    status = main(["forward", "--use-gpu=no", *options, str(place / model), f"ark:{place / feats}", out])
    return dict(read_matrices(out)) if status == 0 else None


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def same(outputs, expected):
    assert list(outputs) == list(INPUTS)
    for utt, frames in INPUTS.items():
        np.testing.assert_allclose(outputs[utt], expected(frames), rtol=1e-5, atol=1e-6)


LOG_PRIORS = np.log(np.array([0.8, 1.0, 0.15, 0.05]))
LOG_PRIORS[1] = np.sqrt(np.finfo(np.float32).max)


def test_outputs_and_priors(place, caplog):
    caplog.set_level("INFO")
    counts = f"--class-frame-counts={place}/counts"
    same(forward(place), lambda x: softmax(x @ WEIGHT.T))
    same(forward(place, "--no-softmax"), lambda x: x @ WEIGHT.T)
    same(forward(place, "--apply-log"), lambda x: np.log(softmax(x @ WEIGHT.T)))
    same(forward(place, "--no_softmax", counts), lambda x: x @ WEIGHT.T - LOG_PRIORS)
    scaled = forward(place, "--apply-log", "--prior-scale=0.5", counts)
    same(scaled, lambda x: np.log(softmax(x @ WEIGHT.T)) - 0.5 * LOG_PRIORS)
    caplog.clear()
    floored = forward(place, "--no-softmax", "--prior-floor=0.1", counts)
    disabled = np.where([False, True, False, True], LOG_PRIORS[1], LOG_PRIORS)
    same(floored, lambda x: x @ WEIGHT.T - disabled)
    assert "2 pdfs are rarer than 0.1" in caplog.text and "posteriors" not in caplog.text


def test_priors_of_posteriors_are_kaldis_but_not_in_silence(place, caplog):
    same(forward(place, f"--class-frame-counts={place}/counts"), lambda x: softmax(x @ WEIGHT.T) - LOG_PRIORS)
    assert "log-priors are subtracted from posteriors" in caplog.text
    caplog.clear()
    # A network without softmax gives what priors are subtracted from.
    bare = forward(place, f"--class-frame-counts={place}/counts", model="logits.nnet")
    same(bare, lambda x: x @ WEIGHT.T - LOG_PRIORS)
    assert "log-priors are subtracted from" not in caplog.text


def test_no_softmax_of_a_network_without_one(place, caplog):
    same(forward(place, "--no-softmax=true", model="logits.nnet"), lambda x: x @ WEIGHT.T)
    assert "ends with <LinearTransform>: no softmax to leave out" in caplog.text


def test_the_transform_comes_first_and_an_empty_name_is_none(place):
    transform = f"--feature-transform={place}/transform"
    same(forward(place, "--no-softmax", transform), lambda x: (x + 1) @ WEIGHT.T)
    same(forward(place, "--no-softmax", "--feature-transform="), lambda x: x @ WEIGHT.T)


def test_kaldis_outputs(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden/nnet1"
    (tmp_path / "feats.ark").symlink_to(golden / "input_cmn.ark")
    transform = f"--feature-transform={golden}/final.feature_transform"
    counts = f"--class-frame-counts={golden}/ali_train_pdf.counts"
    for table, options in (("posteriors", []), ("loglikes", ["--no-softmax=true", counts])):
        outputs = forward(tmp_path, transform, *options, model=golden / "final.nnet")
        expected = dict(read_matrices(f"ark:{golden}/{table}.ark"))
        assert list(outputs) == list(expected)
        for utt, matrix in expected.items():
            # A disabled pdf has 1.8e19.
            np.testing.assert_allclose(outputs[utt], matrix, atol=1e-4, rtol=1e-6)


def test_priors_as_make_priors_writes_them(place):
    (place / "prior_counts").write_text("[ 1.5 2.25 0.25 4 ]\n")
    priors = np.log(np.array([1.5, 2.25, 0.25, 4]) / 8)
    outputs = forward(place, "--no-softmax", f"--class-frame-counts={place}/prior_counts")
    same(outputs, lambda x: x @ WEIGHT.T - priors)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_fatal(place, capsys, value):
    bad = INPUTS["c"].copy()
    bad[4, 1] = value
    write(place / "bad.ark", {"b": INPUTS["b"], "c": bad, "d": INPUTS["b"]})
    assert forward(place, feats="bad.ark") is None
    error = capsys.readouterr().err
    assert f"{place}/bad.ark: utterance 'c': the features hold a value that is not a number" in error
    assert list(dict(read_matrices(f"ark:{place}/out.ark"))) == ["b"]
    huge = nnet1.PerDimension("<Rescale>", DIM, DIM, np.full(DIM, 3e38, np.float32))
    (place / "huge.nnet").write_bytes(write_nnet1([huge]))
    write(place / "large.ark", {"c": np.full((2, DIM), 10, np.float32)})
    assert forward(place, model="huge.nnet", feats="large.ark") is None
    assert "utterance 'c': the output of the network is not a number" in capsys.readouterr().err
    assert forward(place, f"--feature-transform={place}/huge.nnet", feats="large.ark") is None
    assert f"utterance 'c': a feature after {place}/huge.nnet is not a number" in capsys.readouterr().err


def test_what_does_not_fit(place, capsys):
    def refused(*options, **places):
        assert forward(place, *options, **places) is None
        return capsys.readouterr().err.strip().splitlines()[-1]

    write(place / "wide.ark", {"u": np.zeros((2, 5), np.float32)})
    assert "wide.ark: utterance 'u': features of shape (2, 5)" in refused(feats="wide.ark")
    write(place / "empty.ark", {"b": INPUTS["b"], "u": np.zeros((0, 0), np.float32)})
    assert "empty.ark: utterance 'u': the features have no frames" in refused(feats="empty.ark")
    (place / "none.ark").write_bytes(b"")
    assert "none.ark: no utterance could be used" in refused(feats="none.ark")
    model = refused(f"--feature-transform={place}/final.nnet")
    assert "final.nnet: gives features of dimension 4, the network takes 3" in model
    assert "2 priors for a model of 4 pdfs" in refused(f"--class-frame-counts={two(place)}")
    assert "exclude each other" in refused("--apply-log", "--no-softmax")
    assert "nowhere: cannot be read" in refused(model="nowhere")
    assert "feats.ark: is not a network of Kaldi's nnet1" in refused(model="feats.ark")
    assert main(["forward", str(place / "final.nnet"), str(place), "ark:-"]) == 1
    assert "dkt feats --nnet-dir" in capsys.readouterr().err


def two(place):
    (place / "two").write_text("[ 1 1 ]\n")
    return place / "two"


def test_any_number_of_threads_writes_the_same_in_the_same_order(place, capsys):
    many = {f"utt{n:03d}": np.tile(INPUTS["b"], (n % 7 + 1, 1)) * (n + 1) for n in range(40)}
    write(place / "many.ark", many)
    written = set()
    for number in ("1", "3", "auto"):
        found = forward(place, f"--num-threads={number}", feats="many.ark")
        assert list(found) == list(many)
        written.add((place / "out.ark").read_bytes())
    assert len(written) == 1
    # What comes before an utterance that fails is written, whoever computed it.
    many["utt020"] = np.full_like(many["utt020"], np.nan)
    write(place / "many.ark", many)
    assert forward(place, "--num-threads=3", feats="many.ark") is None
    assert "utt020" in capsys.readouterr().err
    assert list(dict(read_matrices(f"ark:{place}/out.ark"))) == list(many)[:20]


@pytest.mark.parametrize("num_threads", ["1", "3"])
def test_a_pipe_is_answered_utterance_by_utterance(place, num_threads):
    command = [sys.executable, "-m", "dkt", "forward", "--no-softmax=true", "--use-gpu=no"]
    command.append(f"--num-threads={num_threads}")
    places = [f"cat {place}/final.nnet |", "ark,s,cs:-", "ark:-"]
    sent = {utt: INPUTS[utt] for utt in sorted(INPUTS)}
    process = subprocess.Popen(
        [*command, *places], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    received = b""
    for utt, frames in sent.items():
        process.stdin.write(utt.encode() + b" " + encode_matrix(frames))
        process.stdin.flush()
        expected = utt.encode() + b" " + encode_matrix(frames @ WEIGHT.T)
        # The answer comes while the pipe stays open.
        answer = b""
        while len(answer) < len(expected):
            assert select.select([process.stdout], [], [], 60.0)[0], "no answer before the end of the input"
            piece = process.stdout.read1(len(expected) - len(answer))
            assert piece, process.stderr.read().decode()
            answer += piece
        assert answer.startswith(utt.encode() + b" \0BFM ")
        matrix = read_matrix(io.BytesIO(answer[2:]))
        np.testing.assert_allclose(matrix, frames @ WEIGHT.T, rtol=1e-5, atol=1e-6)
        received += answer
    rest, log = process.communicate()
    assert process.returncode == 0 and rest == b""
    assert log.decode().splitlines()[-1].startswith("INFO (dkt forward) Done 3 files in ")
