#!/usr/bin/env bash
# Decodes a data directory anew at each point of a grid of LM weights and word insertion penalties, for the best words
# only: no lattices (steps/decode.sh makes them). The model lies in the parent of <decode-dir>.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/decoding.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
beam=13.0
max_active=7000
min_active=200
lmwts="7 8 9 10 11 12 13 14 15 16 17"
word_ins_penalties="0.0 0.5 1.0"
use_gpu=no
max_dropped=0.05
transform_dir=
ivectors=
skip_scoring=false
srcdir=
model=
nnet=
class_frame_counts=
help_message="Usage: steps/decode_scan.sh [options] <graph-dir> <data-dir> <decode-dir>
 e.g.: steps/decode_scan.sh --nj 4 exp/mono/graph data/dev exp/dnn/decode_dev
options:
  --stage <n>                  0: decode, 1: only score (0)
  --nj <n>                     number of jobs (4)
  --cmd <cmd>                  how to run them (run.pl)
  --beam <x>                   beam (13)
  --max-active <n>             states kept per frame at most (7000)
  --min-active <n>             and at least (200)
  --lmwts <list>               LM weights; the acoustic scale is 1 / weight
  --word-ins-penalties <list>  costs of a word
  --use-gpu <how>              yes, no or optional (no)
  --max-dropped <share>        share of utterances that may fail, all jobs together (0.05)
$speaker_inputs_help
  --srcdir <dir>               where the model is (the parent of <decode-dir>)
  --model, --nnet, --class-frame-counts <file>   as of steps/decode.sh
  --skip-scoring <bool>        do not score (false)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
graph=$1
data=$2
dir=$3
srcdir=${srcdir:-$(dirname "$dir")}
logdir=$dir/log
check_runner "$logdir"

if [ "$stage" -le 0 ]; then
  set_search_inputs
  depends_on "nj beam max_active min_active lmwts word_ins_penalties max_dropped ivectors" "$graph"/{HCLG.fst,words.txt} \
    "$data"/*.scp "$data/utt2spk" "$model" ${feature_files[@]+"${feature_files[@]}"} "$nnet" "$class_frame_counts" \
    "$transform_dir" "$ivectors"
  set_job_files "$dir/scoring/job.JOB"
  set_judged_logs "$logdir/decode.JOB.log"
fi
if [ "$stage" -le 0 ] && ! already_done "$dir/.decode_scan.done" "${job_files[@]}" "$dir/num_jobs"; then
  hold_directory "$dir"
  make_dir "$logdir"
  begin_jobs "$nj" "$logdir/decode.JOB.log" "$dir/scoring/job.JOB"
  sdata=$(make_split "$data" "$nj" "$dir") || exit 1
  set_loglikes
  set_resources "$use_gpu"
  run_jobs ${resources[@]+"${resources[@]}"} "$logdir/decode.JOB.log" set -o pipefail "$THEN" \
    "${loglikes[@]}" "$sdata/JOB" ark:- "$PIPE" \
    dkt decode-scan --beam="$beam" --max-active="$max_active" --min-active="$min_active" --lmwts="$lmwts" \
    --word-ins-penalties="$word_ins_penalties" --max-dropped=1 "$model" "$graph" "$graph/words.txt" ark:- \
    "$made/job.JOB"
  verdict
  clear_scores
  # Lattices of another decoding would be scored in place of these.
  rm -rf "$dir"/scoring/{*.txt,point.*} "$dir"/{,.}lat.*.gz "$dir"/.decoded.* "$dir/.decode.done"
  # Without it there is nothing to score: it goes first and comes last.
  rm -f "$dir/num_jobs"
  place_jobs
  write_file "$dir/num_jobs" echo "$nj"
  mark_done
  echo "$script_name: hypotheses of $data in $dir/scoring, logs in $logdir"
fi
"$skip_scoring" || ! can_score || "$DKT_ROOT/steps/score.sh" --cmd "$cmd" "$data" "$graph" "$dir"
