"""Networks that Kaldi's nnet3 wrote: ``dkt import``, and ``dkt export`` of what came in."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from dkt.bin import main
from dkt.nnet.nnet3.model import read_nnet3_model

NNET3 = (
    "nnet3_lstm/lstm",
    "nnet3_more/tdnn",
    "nnet3_more/lstm_noproj",
    "nnet3_more/blstm",
    "nnet3_more/tdnnf",
)


@pytest.mark.parametrize("name", NNET3)
def test_kaldis_nnet3_comes_in_and_leaves_again(kaldi_fixtures, tmp_path, name):
    source = tmp_path / "kaldi"
    source.mkdir()
    shutil.copy(kaldi_fixtures / f"golden/{name}.raw", source / "final.raw")
    (source / "cmvn_opts").write_text("--norm-means=true\n")
    assert main(["import", "--format=nnet3", str(source), str(tmp_path / "model")]) == 0
    assert (tmp_path / "model/cmvn_opts").read_text() == "--norm-means=true\n"
    for form in ("true", "false"):
        places = [str(tmp_path / "model"), str(tmp_path / form)]
        assert main(["export", "--format=nnet3", f"--binary={form}", *places]) == 0
    assert (tmp_path / "true/final.raw").read_bytes() == (source / "final.raw").read_bytes()
    assert (tmp_path / "false/final.raw").read_bytes().startswith(b"<Nnet3>")
    assert main(["import", "--format=nnet3", str(tmp_path / "false"), str(tmp_path / "again")]) == 0
    again, whole = (read_nnet3_model(path / "final.raw").network for path in (tmp_path / "again", source))
    for key, component in whole.components.items():
        for field, value in component.fields.items():
            np.testing.assert_allclose(again.components[key].fields[field], value, rtol=2e-6, atol=1e-7)
