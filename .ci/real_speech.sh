#!/usr/bin/env bash
# The digits recipe on real recordings, reduced, held against bounds that a broken step would violate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "${DKT_CORPORA:-}/fsdd" ] || { echo "$0: DKT_CORPORA does not name a folder with fsdd" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
./egs/digits/s5/run.sh --corpus fsdd --corpus-dir "$DKT_CORPORA/fsdd" --num-train 600 --num-dev 150 --num-test 150 \
  --data "$work/data" --exp "$work/exp"

python - egs/digits/s5/exp/report/results.csv <<'PYTHON'
import csv
import sys

rows = {row["system"]: row for row in csv.DictReader(open(sys.argv[1]))}
gmm, dnn = rows["gmm"], rows["dnn"]
checks = [
    ("GMM, dev WER", float(gmm["dev_wer"]), 0.5, 20.0),
    ("GMM, test WER", float(gmm["test_wer"]), 0.2, 10.0),
    ("DNN, dev WER, not above the GMM's", float(dnn["dev_wer"]), 0.5, float(gmm["dev_wer"])),
    ("DNN, test WER", float(dnn["test_wer"]), 0.0, 10.0),
    ("DNN, training frame accuracy", float(dnn["train_frame_acc"]), 75.0, 99.0),
    ("DNN, cross-validation frame accuracy", float(dnn["cv_frame_acc"]), 45.0, 75.0),
]
failed = 0
for name, value, low, high in checks:
    good = low <= value <= high
    failed += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {value:.2f}, expected {low:.2f} to {high:.2f}")
sys.exit(failed > 0)
PYTHON
