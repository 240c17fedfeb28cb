#!/usr/bin/env bash
# Scores a decoding directory against the transcripts: lattices as Kaldi's steps/scoring/score_kaldi_wer.sh, or the
# texts of steps/decode_scan.sh. Leaves wer_<lmwt>_<wip> and scoring_kaldi (best_wer, test_filt.txt, the hypotheses in
# penalty_<wip>/<lmwt>.txt, wer_details) as Kaldi's scripts do.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
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
  --min-lmwt, --max-lmwt <n>   LM weights from, to (7, 17)
  --word-ins-penalty <list>    word insertion penalties, with commas between them (0.0,0.5,1.0)
  --lmwts, --word-ins-penalties <list>   the same as lists with blanks"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
data=$1
graph=$2
dir=$3
scoring=$dir/scoring
# Where the scores are made: those of before stay until the new ones are whole.
new=$dir/.new_scores
check_runner "$dir"
refuse_job_word "$data" "$graph" "$dir"

# What is scored.
if [ -e "$dir/lat.1.gz" ]; then found=("$dir"/lat.*.gz); else found=("$scoring"/job.*); fi
depends_on "min_lmwt max_lmwt word_ins_penalty lmwts word_ins_penalties" "$data/text" "$graph/words.txt" \
  "$dir/num_jobs" "${found[@]}"
if [ "$stage" -le 0 ] && already_done "$dir/.score.done" "$dir/scoring_kaldi/best_wer" "$dir"/wer_*; then
  cat "$dir/scoring_kaldi/best_wer"
  exit 0
fi
hold_directory "$dir"
words=
[ ! -f "$graph/words.txt" ] || words=--words=$graph/words.txt

# find_best dir: has the best of the scores in a directory written into scoring_kaldi there, by the names of $dir.
find_best() {
  local said best=$1/scoring_kaldi/best_wer
  if ! said=$(dkt best-wer --write --data="$data" ${words:+"$words"} "$1" 2>&1 >/dev/null); then
    echo "$said" >&2
    die "the best of the scores was not found (the reason is above)"
  fi
  [ -z "$said" ] || echo "${said//"$1/"/"$dir/"}" >&2
  said=$(<"$best")
  write_file "$best" echo "${said//"$1/"/"$dir/"}"
}

if [ "$stage" -le 0 ]; then
  require_files "$data/text" "$dir/num_jobs"
  if [ -e "$dir/lat.1.gz" ]; then read_num_jobs "$dir" "lat.JOB.gz"; else read_num_jobs "$dir" "scoring/job.JOB"; fi
  if [ -e "$dir/lat.1.gz" ]; then
    require_files "$graph/words.txt"
    lmwts=${lmwts:-$(seq -s " " "$min_lmwt" "$max_lmwt")} || die "--min-lmwt, --max-lmwt: $min_lmwt, $max_lmwt"
    log=$dir/log/lattice_scan.JOB.log
    begin_jobs "$nj" "$log" "$scoring/job.JOB"
    run_jobs "$log" \
      dkt lattice-scan --lmwts="$lmwts" --word-ins-penalties="${word_ins_penalties:-${word_ins_penalty//,/ }}" \
      --max-dropped=1 ark:"$dir/lat.JOB.gz" "$graph/words.txt" "$made/job.JOB"
    place_jobs
    tell_losses "${log%JOB.log}"[0-9]*.log
  fi
  require_files "$scoring/job.1"
  rm -rf "$new"
  make_dir "$new/scoring"
  names=()
  for first in "$scoring"/job.1/*.txt; do
    name=$(basename "$first" .txt)
    require_files "$scoring/job.1/$name.txt"
    names+=("$name")
    parts=()
    for job in $(seq "$nj"); do parts+=("$scoring/job.$job/$name.txt"); done
    write_file "$new/scoring/$name.txt" sort_files "${parts[@]}"
    ln -s "$name.txt" "$new/scoring/point.${#names[@]}.txt" # jobs are numbered
  done
  log=$dir/log/score.JOB.log
  begin_jobs "${#names[@]}" "$log" "$scoring/point.JOB.wer"
  run_jobs "$log" \
    dkt compute-wer --mode=present ark:"$data/text" ark:"$new/scoring/point.JOB.txt" "$INTO" "$made/point.JOB.wer"
  place_jobs
  tell_losses "${log%JOB.log}"[0-9]*.log
  rm "$new"/scoring/point.*
  for point in $(seq "${#names[@]}"); do mv "$scoring/point.$point.wer" "$new/wer_${names[point - 1]}"; done
  find_best "$new"
  # The mark of decode.sh goes with the scores that it is about.
  rm -rf "$dir"/.{score,local_score}.done "$dir"/wer_* "$dir/scoring_kaldi"
  mv "$new"/{wer_*,scoring_kaldi} "$dir"
  rm -rf "$new" "$scoring"/{*.txt,point.*}
else
  find_best "$dir"
fi
cat "$dir/scoring_kaldi/best_wer"
[ "$stage" -ge 1 ] || mark_done "$dir/scoring_kaldi/best_wer" "$dir"/wer_*
