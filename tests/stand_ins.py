"""Stand-ins for dkt and for Kaldi's job runners and search: they note how they were called and do little.

With them a step runs in a moment, and a test sees every command line.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.shell import BIN, ROOT

#: Writes what the next program of a step looks for; keys of utterances stand for scores and lattices.
PROGRAM = f"""#!{sys.executable} -IS
import gzip, json, os, signal, sys
from pathlib import Path

def write(wspecifier, keys):
    text = "".join(f"{{key}}\\n" for key in keys)
    kind, place = wspecifier.split(":", 1)
    if "scp" in kind:
        for file in place.split(","):
            Path(file).write_text(text)
    else:
        Path("/dev/stdout" if place == "-" else place).write_text(text)

def make(place, *names):
    for name in names:
        path = Path(place) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

def read(rspecifier):
    place = rspecifier.split(":", 1)[1]
    data = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    return (gzip.decompress(data) if data.startswith(b"\\x1f\\x8b") else data).decode().split()

def utterances(data):
    return [line.split()[0] for line in (Path(data) / "feats.scp").read_text().splitlines()]

name, argv = Path(sys.argv[0]).name, sys.argv[1:]
if argv[:1] == ["config-files"]:
    os.execv("{BIN}/dkt", ["dkt", *argv])
with Path(os.environ["CALLS"]).open("a") as calls:
    calls.write(json.dumps([name, *argv]) + "\\n")
if name == "dkt":
    name, *argv = argv
options = dict(x[2:].partition("=")[::2] for x in argv if x.startswith("--"))
args = [x for x in argv if not x.startswith("--")]
fails = name in os.environ.get("FAIL", "").split()
killed, _, whose = os.environ.get("KILL", "").partition(" ")
if name == killed and any(whose in x for x in argv):
    # As the kernel does when memory runs out.
    os.kill(os.getpid(), signal.SIGKILL)
if name in ("lock-dir", "verify"):
    sys.exit()
if name in ("forward", "gmm-compute-likes"):
    write(args[2], utterances(args[1]))
elif name.startswith("latgen"):
    found = [key for key in read(args[2]) if key not in os.environ.get("LOSE", "").split()]
    write(args[3], found)
    write(args[4], found)
elif name in ("lattice-scan", "decode-scan"):
    found = read(args[-3 if name == "lattice-scan" else -2])
    Path(args[-1]).mkdir()
    for lmwt in options["lmwts"].split():
        for penalty in options["word-ins-penalties"].split():
            write(f"ark:{{args[-1]}}/{{lmwt}}_{{penalty}}.txt", found)
elif name == "compute-wer":
    print("%WER 10.00 [ 1 / 10, 0 ins, 0 del, 1 sub ]")
elif name == "best-wer":
    (Path(args[0]) / "scoring_kaldi").mkdir(exist_ok=True)
    (Path(args[0]) / "scoring_kaldi/best_wer").write_text("%WER 10.00\\n")
elif name == "check":
    print("features  ok\\n100 utterances would be used; 0 would be lost")
elif name == "analyze-counts":
    Path(args[1]).write_text(f" [ {{len(read(args[0]))}} 0.25 ]\\n")
elif name in ("train", "train-dnn", "train-lstm"):
    for file in ("final.pt", "final.mdl"):
        (Path(args[-1]) / file).write_text("trained")
elif name == "make-soft-targets" and options["job"] == "begin":
    make(args[-1], "header.yaml")
elif name == "make-soft-targets" and options["job"] == "end":
    parts = sorted(Path(args[-1]).glob("soft.*.scp"))
    (Path(args[-1]) / "soft.scp").write_text("".join(part.read_text() for part in parts))
elif name == "make-soft-targets":
    write("ark,scp:" + ",".join(f"{{args[-1]}}/soft.{{options['job']}}.{{x}}" for x in ("ark", "scp")),
          utterances(args[1]))
elif name == "align":
    directory = Path(args[-1])
    if "loglikes" in options:
        directory.mkdir(parents=True)
    make(directory, "final.mdl", "tree", "phones.txt", "cmvn_opts", "final.mat", "num_jobs")
    for job in range(1, int(options["nj"]) + 1):
        found = read(options["loglikes"]) if "loglikes" in options else ["a-1"]
        (directory / f"ali.{{job}}.gz").write_text(" ".join(found))
elif name.startswith("compute-") and name.endswith("-feats") and "write-num-frames" in options:
    keys = [x.split()[0] for x in Path(args[0][4:]).read_text().splitlines()]
    write(args[1], keys)
    write("ark:" + options["write-num-frames"], keys)
elif name == "compute-cmvn-stats":
    write(args[1], ["a", "b"])
elif name == "compute-fmllr-feats":
    write(args[3], utterances(args[1]))
    write(args[4], ["a"])
elif name == "decode-faster-mapped":
    write(args[-1], read(args[2]))
elif name == "train-mono":
    make(args[-1], "final.mdl", "final.occs", "tree", "num_jobs")
    make(args[-1], *(f"ali.{{job}}.gz" for job in range(1, int(options["nj"]) + 1)))
elif name == "mkgraph":
    make(args[-1], "HCLG.fst", "words.txt", "phones.txt", "phones/silence.csl")
elif name == "prepare-lang":
    make(args[-1], "L.fst", "L_disambig.fst", "words.txt", "phones.txt", "topo", "oov.txt", "oov.int")
    make(args[-1], "phones/sets.int")
elif name == "train-lm":
    make(Path(args[-1]).parent, "lm.arpa.gz")
elif name == "format-lm":
    make(args[-1], "G.fst")
elif name in ("perturb-speed", "perturb-volume", "augment-data"):
    make(args[-1], "wav.scp", "utt2spk", "spk2utt", "text", "utt2uniq", "utt2snr", "wav/a.wav")
elif name == "copy-ali-dir":
    make(args[-1], "final.mdl", "tree", "num_jobs")
    make(args[-1], *(f"ali.{{job}}.gz" for job in range(1, int(options["nj"]) + 1)))
if name in os.environ.get("TELLS", "").split():
    print(os.environ["TELL"].replace("PROGRAM", f"(dkt {{name}})"), file=sys.stderr)
print(f"INFO (dkt {{name}}) {{name}}: 1 utterances done, 0 dropped", file=sys.stderr)
sys.exit(fails)
"""

#: Kaldi's queue.pl and slurm.pl take options that are configured; all its runners run without pipefail.
RUNNER = f"""#!{sys.executable} -IS
import json, os, re, subprocess, sys
from pathlib import Path

name, argv = Path(sys.argv[0]).name, sys.argv[1:]
with Path(os.environ["CALLS"]).open("a") as calls:
    calls.write(json.dumps([name, *argv]) + "\\n")
word, numbers = "JOB", [1]
while argv[0].startswith("-") or "=" in argv[0]:
    if argv[0].startswith("-"):
        if argv.pop(0) not in ("--mem", "--num-threads", "--max-jobs-run", "--gpu"):
            sys.exit(f"{{name}}: an option is not described in default config file")
    else:
        word, first, last = re.fullmatch(r"(\\w+)=(\\d+):(\\d+)", argv[0]).groups()
        numbers = range(int(first), int(last) + 1)
    del argv[0]
log = argv.pop(0)
lazy = os.environ.get("LAZY", "").split()
quoted = [x if re.fullmatch(r"\\S+", x) else f"'{{x}}'" if '"' in x else f'"{{x}}"' for x in argv]
failed = 0
for number in map(str, numbers):
    if number in lazy or "all" in lazy:
        # A queue that says OK.
        if "begun" in lazy:
            Path(log.replace(word, number)).write_text("# dkt\\nINFO (dkt x) loading\\n")
        continue
    with Path(log.replace(word, number)).open("w") as output:
        command = ["bash", "-c", f"( {{' '.join(quoted)}} )".replace(word, number)]
        failed += subprocess.call(command, stdout=output, stderr=output) != 0
sys.exit(failed > 0)
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class StandIns:
    """The stand-ins in a directory of Kaldi's layout, ``kaldi``, beside ``bin`` with that of dkt."""

    def __init__(self, path: Path) -> None:
        self.calls_file = path / "calls"
        self.kaldi = path / "kaldi"
        _write(path / "bin/dkt", PROGRAM)
        utils = self.kaldi / "egs/wsj/s5/utils"
        for name in ("run.pl", "queue.pl", "slurm.pl"):
            _write(utils / name, RUNNER)
        _write(utils / "parse_options.sh", f'. "{ROOT}/steps/utils/parse_options.sh"\n')
        self.latgen = self.kaldi / "src/bin/latgen-faster-mapped"
        _write(self.latgen, PROGRAM)
        #: Variables for ``tests.shell``: without Kaldi, and with it.
        self.alone = {
            "PATH": f"{path}/bin:{BIN}:/usr/bin:/bin",
            "CALLS": str(self.calls_file),
            "DKT_DISK_WAIT": "0",
        }
        self.with_kaldi = self.alone | {"KALDI_ROOT": str(self.kaldi)}

    def calls(self) -> list[list[str]]:
        """The calls since this was last asked, program and arguments; what jobs write has its final place."""
        if not self.calls_file.exists():
            return []
        lines = re.sub(r"\.\w+\.jobs/[0-9a-f-]+/?", "", self.calls_file.read_text()).splitlines()
        self.calls_file.unlink()
        return [json.loads(line) for line in lines]
