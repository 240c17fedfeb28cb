#!/usr/bin/env bash
# Decodes a data directory with a network or a GMM, leaves lattices and scores them: arguments, defaults and files
# as of Kaldi's steps/nnet/decode.sh and, for a GMM, steps/decode.sh. The model lies in the parent of <decode-dir>.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/decoding.sh"
. "$DKT_ROOT/steps/lib/lattices.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
acwt=
beam=13.0
lattice_beam=8.0
min_active=200
max_active=7000
max_mem=50000000
srcdir=
model=
nnet=
class_frame_counts=
transform_dir=
ivectors=
skip_scoring=false
scoring_opts=default
latgen=auto
num_threads=1
use_gpu=no
max_dropped=0.05
help_message="Usage: steps/decode.sh [options] <graph-dir> <data-dir> <decode-dir>
 e.g.: steps/decode.sh --nj 4 exp/tri3/graph data/test exp/dnn/decode_test
options (names and defaults of Kaldi's script):
  --stage <n>            0: decode, 1: only score (0)
  --nj <n>               number of jobs, and of lat.JOB.gz (4)
  --cmd <cmd>            how to run them (run.pl)
  --acwt <x>             acoustic scale (0.1; of a GMM 0.083333)
  --beam, --lattice-beam, --min-active, --max-active, --max-mem   (13, 8, 200, 7000, 50000000)
  --srcdir <dir>         where the model is (the parent of <decode-dir>)
  --model, --nnet, --class-frame-counts <file>   in place of <srcdir>/final.mdl, final.pt, and prior_counts or
                         ali_train_pdf.counts
$speaker_inputs_help
  --latgen <which>       kaldi: latgen-faster-mapped, dkt: dkt latgen, auto: Kaldi's if KALDI_ROOT is set and it is
                         found on PATH, in src/bin or in src/latbin; lattices that are there stay (auto)
  --num-threads <n>      utterances that a job decodes at a time; above 1 Kaldi's latgen-faster-mapped-parallel (1)
  --use-gpu <how>        yes, no or optional (no)
  --max-dropped <share>  share of utterances that may have no lattice, all jobs together (0.05)
  --skip-scoring <bool>  do not score (false)
  --scoring-opts <opts>  of local/score.sh, if KALDI_ROOT is set and it is there, or of steps/score.sh
                         (--min-lmwt 4 --max-lmwt 15; of a GMM none)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
graph=$1
data=$2
dir=$3
srcdir=${srcdir:-$(dirname "$dir")}
logdir=$dir/log
check_runner "$logdir"

if is_network; then default_acwt=0.1 default_scoring="--min-lmwt 4 --max-lmwt 15"; else
  default_acwt=0.083333 default_scoring=
fi
acwt=${acwt:-$default_acwt}
check_number num_threads 1024
[ "$scoring_opts" != default ] || scoring_opts=$default_scoring

# Sets what the lattices depend on, which the program search_name makes.
set_inputs() {
  depends_on "nj acwt beam lattice_beam min_active max_active max_mem max_dropped ivectors search_name" "$graph/HCLG.fst" \
    "$graph/words.txt" "$data"/*.scp "$data/utt2spk" "$model" ${feature_files[@]+"${feature_files[@]}"} "$nnet" \
    "$class_frame_counts" "$transform_dir" "$ivectors"
}

if [ "$stage" -le 0 ]; then
  set_search_inputs
  hold_directory "$dir"
  set_search
  set_search_name
  refuse_job_word "${search[0]}" "$DKT_ROOT"
  set_inputs
  set_job_files "$dir"/{lat.JOB.gz,.decoded.JOB}
  set_judged_logs "$logdir/decode.JOB.log"
fi
if [ "$stage" -le 0 ] && ! already_done "$dir/.decode.done" "${job_files[@]}" "$dir/num_jobs"; then
  # Lattices of two programs are not mixed.
  [ "$search_name" = "${search[*]}" ] || kept_results=
  # What those of the mark were made by does not matter any more.
  search_name=${search[*]}
  set_inputs
  note_inputs
  make_dir "$logdir"
  begin_jobs "$nj" "$logdir/decode.JOB.log" "$dir/lat.JOB.gz" "$dir/.decoded.JOB"
  sdata=$(make_split "$data" "$nj" "$dir") || exit 1
  set_loglikes
  set_search_threads
  # Two programs run at a time.
  set_resources "$use_gpu" $((num_threads + 1))
  echo "$script_name: decoding $data by ${search[0]}${search[1]:+ ${search[1]}}"
  run_jobs "${resources[@]}" "$logdir/decode.JOB.log" set -o pipefail "$THEN" \
    "${loglikes[@]}" "$sdata/JOB" ark:- "$PIPE" \
    "${search[@]}" ${search_threads[@]+"${search_threads[@]}"} --min-active="$min_active" --max-active="$max_active" \
    --max-mem="$max_mem" --beam="$beam" --lattice-beam="$lattice_beam" --acoustic-scale="$acwt" --allow-partial=true \
    --word-symbol-table="$graph/words.txt" "$model" "$graph/HCLG.fst" ark:- ark:- "ark,t:$made/.decoded.JOB" "$PIPE" \
    "$DKT_ROOT/steps/utils/gzip_to.sh" "$made/lat.JOB.gz"
  verdict
  clear_scores
  # What another decoding has found would pass for what is in these lattices.
  rm -rf "$dir/scoring" "$dir/.decode_scan.done"
  # Without it there is nothing to score: it goes first and comes last.
  rm -f "$dir/num_jobs"
  place_jobs
  write_file "$dir/num_jobs" echo "$nj"
  mark_done
fi
require_files "$dir/lat.1.gz" "$dir/num_jobs"

if ! "$skip_scoring" && can_score; then
  set_local_score
  score_lattices
fi
echo "$script_name: lattices of $data in $dir, logs in $logdir"
