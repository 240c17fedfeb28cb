"""A working directory with all that any step looks for, and a call of every step, for stand-ins."""

from __future__ import annotations

import gzip
from pathlib import Path

from tests.shell import succeed
from tests.stand_ins import StandIns

UTTS = ("a-1", "a-2", "b-1", "b-2", "c-1", "c-2", "d-1", "d-2")
NJ = ("--nj", "4")
TRAINING = ("data", "dev", "lang", "exp/gmm_ali", "exp/gmm_ali_dev", "exp/net")
SCAN = ("--lmwts", "9", "--word-ins-penalties", "0.5")

#: Every step by its name, but check_data.sh, which always checks.
CALLS: dict[str, tuple[str, ...]] = {
    "make_mfcc": (*NJ, "data"),
    "make_fbank": (*NJ, "data"),
    "compute_cmvn_stats": ("data",),
    "perturb_data_dir_speed": ("data", "data_sp"),
    "perturb_data_dir_volume": ("data", "data_vol"),
    "augment_data_dir": ("--bg-noise-types", "white", "data", "data_aug"),
    "copy_ali_dir": (*NJ, "data", "exp/gmm_ali", "exp/copied_ali"),
    "prepare_lang": ("dict", "<UNK>", "lm.txt", "lang_made"),
    "train_mono": (*NJ, "data", "lang", "exp/mono"),
    "align_si": (*NJ, "data", "lang", "exp/gmm", "exp/si_ali"),
    "make_fmllr_feats": (*NJ, "data", "exp/graph", "exp/gmm", "data_fmllr"),
    "align": (*NJ, "data", "lang", "exp/dnn", "exp/ali"),
    "mkgraph": ("lang", "exp/gmm", "exp/gmm/graph"),
    "train_dnn": ("--skip-check", "true", *TRAINING),
    "make_soft_targets": (*NJ, "data", "exp/dnn", "exp/soft"),
    "train_lstm": ("--skip-check", "true", *TRAINING),
    "train_nnet": ("--skip-check", "true", "--nnet-config", "conf/nnet.yaml", *TRAINING),
    "forward": (*NJ, "data", "exp/dnn", "exp/post"),
    "make_priors": (*NJ, "data", "exp/dnn"),
    "decode": ("--skip-scoring", "true", *NJ, "exp/graph", "data", "exp/dnn/decode"),
    "decode_scan": ("--skip-scoring", "true", *NJ, *SCAN, "exp/graph", "data", "exp/dnn/scan"),
    "score": (*SCAN, "data", "exp/graph", "exp/dnn/scored"),
}
#: An option of each step that changes its results, and a file that it reads.
CHANGES = {
    "make_mfcc": (["--compress", "false"], "audio.wav"),
    "make_fbank": (["--compress", "false"], "conf/fbank.conf"),
    "compute_cmvn_stats": (["--paste", "feats.scp feats.scp"], "feats.ark"),
    "perturb_data_dir_speed": (["--factors", "0.8"], "audio.wav"),
    "perturb_data_dir_volume": (["--scale-low", "0.5"], "audio.wav"),
    "augment_data_dir": (["--bg-snrs", "5"], "audio.wav"),
    "copy_ali_dir": (["--include-original", "false"], "exp/gmm_ali/ali.1.gz"),
    "prepare_lang": (["--order", "1"], "dict/lexicon.txt"),
    "train_mono": (["--totgauss", "500"], "lang/topo"),
    "align_si": (["--boost-silence", "1.5"], "data/text"),
    "make_fmllr_feats": (["--fmllr-min-count", "100"], "exp/gmm/final.mdl"),
    "align": (["--retry-beam", "50"], "lang/L.fst"),
    "mkgraph": (["--self-loop-scale", "1.0"], "lang/phones/sets.int"),
    "train_dnn": (["--seed", "3"], "exp/gmm_ali/ali.1.gz"),
    "make_soft_targets": (["--top-k", "10"], "exp/dnn/final.pt"),
    "train_lstm": (["--lambda", "0.1"], "feats.ark"),
    "train_nnet": (["--smoothing", "0.2"], "exp/gmm_ali/ali.1.gz"),
    "forward": (["--apply-log", "true"], "data/cmvn.scp"),
    "make_priors": (["--num-utts", "7"], "data/utt2spk"),
    "decode": (["--lattice-beam", "6"], "exp/graph/HCLG.fst"),
    "decode_scan": (["--beam", "12"], "exp/dnn/ali_train_pdf.counts"),
    "score": (["--min-lmwt", "5"], "exp/dnn/scored/lat.2.gz"),
}


def write(path: Path, text: str) -> None:
    """Write a file and the directory that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def call_of(step: str, *options: str) -> list[str]:
    """The script of a step and its arguments, some options in front of them."""
    return [f"steps/{step}.sh", *options, *CALLS[step]]


def write_place(path: Path) -> None:
    """Write what the steps of ``CALLS`` read."""
    for data in ("data", "dev"):
        for name in ("feats.scp", "text", "utt2spk", "wav.scp", "cmvn.scp", "spk2utt"):
            value = {"utt2spk": "{0}", "feats.scp": "feats.ark:1", "wav.scp": "audio.wav"}.get(name, "x")
            write(path / data / name, "".join(f"{utt} {value.format(utt[0])}\n" for utt in UTTS))
    for name in ("feats.ark", "audio.wav", "lm.txt", "dict/lexicon.txt", "conf/mfcc.conf", "conf/fbank.conf"):
        write(path / name, "x\n")
    for name in (
        "L.fst",
        "L_disambig.fst",
        "G.fst",
        "words.txt",
        "phones.txt",
        "oov.txt",
        "topo",
        "phones/sets.int",
    ):
        write(path / "lang" / name, "x\n")
    write(path / "conf/nnet.yaml", "network: {type: gru}\n")
    for name in ("HCLG.fst", "words.txt", "phones/silence.csl"):
        write(path / "exp/graph" / name, "x\n")
    for name in ("dnn/final.pt", "dnn/final.mdl", "dnn/tree", "dnn/ali_train_pdf.counts"):
        write(path / "exp" / name, "x")
    for directory in ("gmm_ali", "gmm_ali_dev", "gmm"):
        for name, text in (("final.mdl", "x"), ("tree", "x"), ("num_jobs", "1\n"), ("ali.1.gz", "x")):
            write(path / "exp" / directory / name, text)
    for job in (1, 2):
        write(path / f"exp/dnn/scored/lat.{job}.gz", "")
        (path / f"exp/dnn/scored/lat.{job}.gz").write_bytes(gzip.compress(b"a-1\n"))
    write(path / "exp/dnn/scored/num_jobs", "2\n")


def count_jobs(tools: StandIns, place: Path, *call: str) -> int:
    """Call a step that has to succeed; how many calls of a job runner that took."""
    succeed(place, *call, **tools.with_kaldi)
    return sum(words[0] == "run.pl" for words in tools.calls())
