#!/usr/bin/env bash
# Measures how fast dkt trains, what its data path costs and what its threads are worth, and writes the ratios to
# benchmarks/results.json.
#
#   benchmarks/run.sh                                                   # speed, and the data path on synthetic data
#   benchmarks/run.sh <data-train> <data-dev> <ali-train> <ali-dev>     # the data path on these
#
# Every ratio is against a peer or a limit measured in the same run; benchmarks/README.md says which. One thread, but
# for the last part. Run it on an idle machine. Kaldi's nnet1 trainers are measured where they are on PATH.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../local/setup_env.sh" standalone,report,synthetic,dev
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
if [ $# -ne 0 ] && [ $# -ne 4 ]; then
  echo "run.sh: error: expected no arguments, or <data-train> <data-dev> <ali-train> <ali-dev>" >&2
  exit 1
fi
pinned=()
if command -v taskset >/dev/null; then pinned=(taskset -c 0); fi

partial=$(mktemp -d)
trap 'rm -rf "$partial"' EXIT
"${pinned[@]}" python "$here/training_speed.py" --json "$partial/speed.json"
# Not pinned: one processor reads ahead of the other.
python "$here/data_path.py" ${1:+--data "$@"} --json "$partial/data.json"
python "$here/threads.py" --json "$partial/threads.json"
python - "$here/results.json" "$partial"/*.json <<'PYTHON'
import json, sys
from pathlib import Path

ratios = {name: value for path in sys.argv[2:] for name, value in json.loads(Path(path).read_text()).items()}
Path(sys.argv[1]).write_text(json.dumps(dict(sorted(ratios.items())), indent=2) + "\n")
print("\nbenchmarks/results.json")
for name, value in sorted(ratios.items()):
    print(f"{name:75}{value:8.3f}")
PYTHON
