#!/usr/bin/env bash
# Scores a decoding directory against the transcripts; leaves wer_<lmwt>_<wip> and scoring_kaldi/best_wer as
# Kaldi's scoring scripts do.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

help_message="Usage: steps/score.sh <data-dir> <graph-dir> <decode-dir>
 e.g.: steps/score.sh data/dev exp/mono/graph exp/mono/decode_dev"
. parse_options.sh

if [ $# != 3 ]; then
  echo "$help_message" >&2
  exit 1
fi
data=$1
dir=$3

require_files "$data/text" "$dir/num_jobs" "$dir/scoring/job.1"
nj=$(cat "$dir/num_jobs")
rm -f "$dir"/wer_* "$dir"/scoring/*.txt
for first in "$dir"/scoring/job.1/*.txt; do
  name=$(basename "$first" .txt)
  for job in $(seq "$nj"); do cat "$dir/scoring/job.$job/$name.txt"; done | LC_ALL=C sort >"$dir/scoring/$name.txt"
  run_logged "$dir/log/score.$name.log" \
    dkt compute-wer --mode=present ark:"$data/text" ark:"$dir/scoring/$name.txt" >"$dir/wer_$name"
done
dkt best-wer --write "$dir"
