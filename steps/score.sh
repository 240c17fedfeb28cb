#!/usr/bin/env bash
# Scores a decoding directory against the transcripts; leaves wer_<lmwt>_<wip> and scoring_kaldi/best_wer as
# Kaldi's scoring scripts do.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
help_message="Usage: steps/score.sh [options] <data-dir> <graph-dir> <decode-dir>
 e.g.: steps/score.sh data/dev exp/mono/graph exp/mono/decode_dev
options:
  --stage <n>  0: error rates at every weight and penalty, 1: only find the best of them (0)
  --cmd <cmd>  how to run the jobs, one for each weight and penalty (run.pl)"
. parse_options.sh

[ $# = 3 ] || usage
data=$1
dir=$3
scoring=$dir/scoring

if [ "$stage" -le 0 ]; then
  require_files "$data/text" "$dir/num_jobs" "$scoring/job.1"
  nj=$(cat "$dir/num_jobs")
  rm -rf "$dir"/wer_* "$dir/scoring_kaldi" "$scoring"/*.txt "$scoring"/point.* "$dir"/log/score.[0-9]*.log
  names=()
  for first in "$scoring"/job.1/*.txt; do
    name=$(basename "$first" .txt)
    require_files "$scoring/job.1/$name.txt"
    names+=("$name")
    for job in $(seq "$nj"); do cat "$scoring/job.$job/$name.txt"; done | LC_ALL=C sort >"$scoring/$name.txt"
    ln -s "$name.txt" "$scoring/point.${#names[@]}.txt" # jobs are numbered
  done
  # shellcheck disable=SC2086
  $cmd JOB=1:"${#names[@]}" "$dir/log/score.JOB.log" \
    dkt compute-wer --mode=present ark:"$data/text" ark:"$scoring/point.JOB.txt" ">" "$scoring/point.JOB.wer" ||
    job_failed "$dir"/log/score.[0-9]*.log
  tell_losses "$dir"/log/score.[0-9]*.log
  for point in $(seq "${#names[@]}"); do mv "$scoring/point.$point.wer" "$dir/wer_${names[point - 1]}"; done
  rm "$scoring"/point.*
fi
dkt best-wer --write "$dir"
