"""A small experiment with one of everything, which trials damage copies of."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.tones import write_corpus

ROOT = Path(__file__).resolve().parents[2]
CPU = ["--use-gpu=no", "--num-threads=1"]
DNN = """
features: {splice: 2}
network: {hidden_layers: 2, hidden_dim: 64}
optimizer: {type: adam, minibatch_size: 64}
schedule: {learn_rate: 0.003, max_iters: 4, keep_lr_iters: 4}
"""
LSTM = """
network: {layers: 1, cells: 48, projection: 24, target_delay: 2}
batches: {num_streams: 4, chunk: 20}
schedule: {learn_rate: 0.003, max_iters: 4, keep_lr_iters: 4}
fine_tuning: {learn_rate: 0.002, max_iters: 2}
"""
_TRAIN = ["data/train_fbank", "data/dev_fbank"]
_ALI = ["exp/ali_train", "exp/ali_dev"]
_SOFT = ["--soft-targets=exp/soft_train", "--soft-targets-dev=exp/soft_dev"]
_GRAPH = ["exp/mono/final.mdl", "exp/mono/graph/HCLG.fst", "ark:exp/loglikes.ark"]

#: Calls that end well, by the name of the command. ``OUT`` is the directory for what they write.
CALLS: dict[str, list[str]] = {
    "train-dnn": ["--config=conf/dnn.yaml", *CPU, *_TRAIN, *_ALI, "OUT/dnn"],
    "train-lstm": [
        "--config=conf/lstm.yaml",
        "--mode=pretrain",
        "--temperature=2",
        *_SOFT,
        *CPU,
        *_TRAIN,
        *_ALI,
        "OUT/lstm",
    ],
    "make-soft-targets": [*CPU, "--top-k=5", "exp/dnn/final.pt", "data/train_fbank", "OUT/soft"],
    "forward": [*CPU, "exp/dnn/final.pt", "data/test_fbank", "ark:OUT/post.ark"],
    "check": ["--lang=data/lang", "data/train_fbank", "exp/ali_train"],
    "train-mono": [
        "--nj=1",
        "--num-iters=3",
        "--max-iter-inc=2",
        "--totgauss=20",
        "data/train_mfcc",
        "data/lang",
        "OUT/mono",
    ],
    "align": ["--nj=1", "data/dev_mfcc", "data/lang", "exp/mono", "OUT/ali"],
    "mkgraph": ["data/lang", "exp/mono", "OUT/graph"],
    "prepare-lang": ["data/local/dict", "<UNK>", "OUT/lang"],
    "train-lm": ["--order=2", "data/local/lm_train.txt", "OUT/lm.arpa"],
    "format-lm": ["data/lang", "data/lang/lm.arpa.gz", "OUT/lang_lm"],
    "gmm-compute-likes": ["exp/mono/final.mdl", "data/dev_mfcc", "ark:OUT/likes.ark"],
    "latgen": ["--acoustic-scale=0.1", *_GRAPH, "ark:OUT/lat.ark"],
    "decode-faster-mapped": [*_GRAPH, "ark,t:OUT/words"],
    "decode-scan": [*_GRAPH[:2], "exp/mono/graph/words.txt", _GRAPH[2], "OUT/scan"],
    "lattice-best-path": ["ark:exp/lat.ark", "ark,t:OUT/words"],
    "lattice-scan": ["ark:exp/lat.ark", "exp/mono/graph/words.txt", "OUT/lattice_scan"],
    "lattice-copy": ["ark:exp/lat.ark", "ark:OUT/lat_copy.ark"],
    "lattice-depth": ["ark:exp/lat.ark"],
    "compute-wer": ["--text", "--mode=present", "ark:data/test/text", "ark:data/test/text"],
    "compute-mfcc-feats": ["--config=conf/mfcc.conf", "scp:data/test/wav.scp", "ark:OUT/mfcc.ark"],
    "compute-fbank-feats": ["--config=conf/fbank.conf", "scp:data/test/wav.scp", "ark:OUT/fbank.ark"],
    "compute-cmvn-stats": ["data/dev_fbank", "ark:OUT/cmvn.ark"],
    "feats": ["--model=exp/dnn/final.pt", "data/dev_fbank", "ark:OUT/feats.ark"],
    "ali-to-pdf": ["exp/mono/final.mdl", "ark:gunzip -c exp/ali_dev/ali.1.gz |", "ark:OUT/pdf.ark"],
    "ali-to-phones": ["exp/mono/final.mdl", "ark:gunzip -c exp/ali_dev/ali.1.gz |", "ark:OUT/phones.ark"],
    "analyze-counts": ["ark:gunzip -c exp/ali_dev/ali.1.gz |", "OUT/counts"],
    "hmm-info": ["exp/mono/final.mdl"],
    "tree-info": ["exp/mono/tree"],
    "show-transitions": ["data/lang/phones.txt", "exp/mono/final.mdl"],
    "perturb-speed": ["--factors=0.9", "data/test", "OUT/test_sp"],
    "perturb-volume": ["data/test", "OUT/test_vol"],
    "augment-data": ["--utt-prefix=aug", "--bg-noise-types=white:babble", "data/test", "OUT/test_aug"],
    "copy-ali-dir": ["--nj=2", "data/dev_fbank", "exp/ali_dev", "OUT/ali_copy"],
    "report": ["--out=OUT/report", "dnn=exp/dnn"],
}


def argv(name: str, out: Path | str) -> list[str]:
    """The arguments of a call of ``CALLS``, the command first."""
    return [name, *(word.replace("OUT", str(out)) for word in CALLS[name])]


def build(place: Path) -> Path:
    """Make the experiment, as a recipe does, by the steps."""
    write_corpus(place / "data")
    (place / "conf").mkdir()
    (place / "conf/mfcc.conf").write_text("--sample-frequency=8000\n--use-energy=false\n")
    (place / "conf/fbank.conf").write_text("--sample-frequency=8000\n--num-mel-bins=20\n")
    (place / "conf/dnn.yaml").write_text(DNN)
    (place / "conf/lstm.yaml").write_text(LSTM)
    mono = ["--num-iters", "6", "--max-iter-inc", "4", "--totgauss", "40", "--nj", "2"]
    mfcc, lang = "data/{}_mfcc", "data/lang"
    for step in [
        [
            "steps/prepare_lang.sh",
            "--order",
            "1",
            "data/local/dict",
            "<UNK>",
            "data/local/lm_train.txt",
            lang,
        ],
        ["local/make_feature_sets.sh", "--nj", "2", "data", "train", "dev", "test"],
        ["steps/train_mono.sh", *mono, mfcc.format("train"), lang, "exp/mono"],
        ["steps/mkgraph.sh", lang, "exp/mono", "exp/mono/graph"],
        *(
            ["steps/align_si.sh", "--nj", "2", mfcc.format(part), lang, "exp/mono", f"exp/ali_{part}"]
            for part in ("train", "dev")
        ),
        [
            "steps/train_dnn.sh",
            "--dnn-config",
            "conf/dnn.yaml",
            "--num-threads",
            "1",
            *_TRAIN,
            lang,
            *_ALI,
            "exp/dnn",
        ],
        *(
            [
                "steps/make_soft_targets.sh",
                "--nj",
                "2",
                "--top-k",
                "5",
                f"data/{part}_fbank",
                "exp/dnn",
                f"exp/soft_{part}",
            ]
            for part in ("train", "dev")
        ),
    ]:
        subprocess.run(
            [ROOT / step[0], *step[1:]],
            cwd=place,
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
    counts = "--class-frame-counts=exp/dnn/ali_train_pdf.counts"
    for call in [
        [
            "forward",
            *CPU,
            "--no-softmax=true",
            counts,
            "exp/dnn/final.pt",
            "data/test_fbank",
            "ark:exp/loglikes.ark",
        ],
        argv("latgen", "exp"),
    ]:
        subprocess.run(["dkt", *call], cwd=place, check=True, stderr=subprocess.DEVNULL)
    return place


def copy(place: Path, target: Path) -> Path:
    """A copy of the experiment, its paths mended: script files name archives by whole paths."""
    shutil.copytree(place, target, symlinks=True)
    for scp in target.rglob("*.scp"):
        if not scp.is_symlink():
            scp.write_text(scp.read_text().replace(str(place), str(target)))
    return target


def contents(place: Path) -> dict[str, str]:
    """A digest of each result below a directory, wherever it lies: no logs, marks or hidden files."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        if path.is_file() and not _beside_the_result(name):
            data = path.read_bytes().replace(str(place).encode(), b"OUT")
            found[str(name)] = hashlib.sha256(data).hexdigest()
    return found


def _beside_the_result(path: Path) -> bool:
    hidden = any(part.startswith(".") or part in ("log", "q") for part in path.parts)
    # Times are told in them.
    return hidden or path.suffix == ".log" or path.name == "history.csv"
