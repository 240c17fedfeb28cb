#!/usr/bin/env bash
# The digits recipe on real recordings, reduced, held against bounds that a broken step would violate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "${DKT_CORPORA:-}/fsdd" ] || { echo "real_speech.sh: DKT_CORPORA does not name a folder with fsdd" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
./egs/digits/s5/run.sh --corpus fsdd --corpus-dir "$DKT_CORPORA/fsdd" --num-train 600 --num-dev 150 --num-test 150 \
  --students "lstm-soft-T2 lstm-pretrain-T2" \
  --data "$work/data" --exp "$work/exp"
python .ci/check_results.py fsdd_reduced "$work/exp/report/results.csv"
.ci/exports.sh "$work/data" "$work/exp"
