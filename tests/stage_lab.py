"""A checkout whose steps say that they were called, for tests of the stages of recipes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUDENTS = "lstm-pretrain-T2 lstm-hard lstm-soft-T2"
STEPS = (
    "steps/train_mono.sh steps/mkgraph.sh steps/align_si.sh steps/train_dnn.sh "
    "steps/make_soft_targets.sh local/train_student.sh "
    "steps/perturb_data_dir_speed.sh steps/augment_data_dir.sh steps/copy_ali_dir.sh "
    "steps/make_fmllr_feats.sh steps/align.sh "
    "steps/make_priors.sh local/make_feature_sets.sh local/decode_dev_then_test.sh"
)

#: Stands for every step: says that it was called, and writes into the directory that is its last argument.
STEP = """#!/bin/bash
dir=${*: -1}
step=$(basename "$0" .sh)
if [ $step = train_student ]; then dir=${*: -3:1}/${*: -2:1}_seed${*: -1}; fi
went_on=
if [[ $step =~ ^train_(dnn|student)$ ]] && [ -e "$dir/final.pt" ]; then went_on=" on what was there"; fi
echo "$step $(basename "$dir")$went_on"
mkdir -p "$dir"
echo "$step $*" >>options
case ${FAIL:-} in "$step" | "$step $(basename "$dir")") exit 1 ;; esac
[ -e "$dir/final.pt" ] || echo "${WEIGHTS:-$RANDOM$RANDOM}" >"$dir/final.pt"
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def write_stubs(path: Path) -> None:
    """A checkout whose steps are stubs, and what the stages source; beside it, in bin, stubs of programs."""
    for step in STEPS.split():
        write_program(path / step, STEP)
    for name in ("network_stages.sh", "students.sh", "realigning.sh", "graph_decoding.sh"):
        shutil.copy(ROOT / "local" / name, path / "local")
    (path / "steps/utils").mkdir(parents=True)
    (path / "steps/utils/lock_dir.py").symlink_to(ROOT / "steps/utils/lock_dir.py")
    for name in ("dkt", "run.pl"):
        write_program(path.parent / "bin" / name, "#!/bin/bash\n")


def run_stubs(command: list[str], tmp_path: Path, **variables: str) -> list[str]:
    """Run a recipe; gives the steps it called."""
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "DKT_ROOT": str(tmp_path / "dkt"),
        "ROOT": str(ROOT),
    }
    done = subprocess.run(
        ["bash", *command], cwd=tmp_path, env=environment | variables, capture_output=True, text=True
    )
    assert (done.returncode != 0) == ("FAIL" in variables), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("===")]
