#!/usr/bin/env bash
# Scores a decoding directory against the transcripts: lattices as Kaldi's steps/scoring/score_kaldi_wer.sh, or the
# texts of steps/decode_scan.sh. Leaves wer_<lmwt>_<wip> and scoring_kaldi (best_wer, test_filt.txt, the hypotheses in
# penalty_<wip>/<lmwt>.txt, wer_details) as Kaldi's scripts do.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
min_lmwt=7
max_lmwt=17
word_ins_penalty=0.0,0.5,1.0
lmwts=
word_ins_penalties=
help_message="Usage: steps/score.sh [options] <data-dir> <graph-dir> <decode-dir>
 e.g.: steps/score.sh --min-lmwt 4 --max-lmwt 15 data/dev exp/mono/graph exp/mono/decode_dev
options:
  --stage <n>  0: error rates at every weight and penalty, 1: only find the best of them (0)
  --cmd <cmd>  how to run the jobs: one for each archive of lattices, then one for each weight and penalty (run.pl)
where lattices are scored, and texts of steps/decode_scan.sh are not:
  --min-lmwt, --max-lmwt <n>   language-model weights from, to (7, 17)
  --word-ins-penalty <list>    word insertion penalties, with commas between them (0.0,0.5,1.0)
  --lmwts, --word-ins-penalties <list>   the same as lists with blanks"
. parse_options.sh

[ $# = 3 ] || usage
data=$1
graph=$2
dir=$3
scoring=$dir/scoring

if [ "$stage" -le 0 ]; then
  require_files "$data/text" "$dir/num_jobs"
  nj=$(cat "$dir/num_jobs")
  # The mark of decode.sh goes with the scores that it is about.
  rm -rf "$dir/.score.done" "$dir"/wer_* "$dir/scoring_kaldi" "$scoring"/*.txt "$scoring"/point.* \
    "$dir"/log/{lattice_scan,score}.[0-9]*.log
  if [ -e "$dir/lat.1.gz" ]; then
    require_files "$graph/words.txt"
    lmwts=${lmwts:-$(seq -s " " "$min_lmwt" "$max_lmwt")} || die "--min-lmwt, --max-lmwt: $min_lmwt, $max_lmwt"
    rm -rf "$scoring"
    mkdir "$scoring"
    # shellcheck disable=SC2086
    $cmd JOB=1:"$nj" "$dir/log/lattice_scan.JOB.log" \
      dkt lattice-scan --lmwts="$lmwts" --word-ins-penalties="${word_ins_penalties:-${word_ins_penalty//,/ }}" \
      --max-loss=1 ark:"gunzip -c $(shell_quote "$dir/lat.JOB.gz") |" "$graph/words.txt" "$scoring/job.JOB" ||
      job_failed "$dir"/log/lattice_scan.[0-9]*.log
    tell_losses "$dir"/log/lattice_scan.[0-9]*.log
  fi
  require_files "$scoring/job.1"
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
words=
[ ! -f "$graph/words.txt" ] || words=--words=$graph/words.txt
dkt best-wer --write --data="$data" ${words:+"$words"} "$dir"
