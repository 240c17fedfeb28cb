#!/usr/bin/env bash
# Writes the posteriors of a network (or their logarithms, or logits) as archives that Kaldi reads.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
apply_log=false
no_softmax=false
use_gpu=no
max_dropped=0.05
transform_dir=
ivectors=
help_message="Usage: steps/forward.sh [options] <data-dir> <model-dir> <output-dir>
 e.g.: steps/forward.sh --nj 4 data/test exp/dnn exp/dnn/post_test
options:
  --stage <n>          0: run the network, 1: only gather what the jobs wrote (0)
  --nj <n>             number of jobs (4)
  --cmd <cmd>          how to run them (run.pl)
  --apply-log <bool>   log-posteriors (false)
  --no-softmax <bool>  logits (false)
  --use-gpu <how>      yes, no or optional (no)
  --max-dropped <share>   share of utterances that may lack features, all jobs together (0.05)
  --transform-dir <dir>  fMLLR transforms (trans.JOB), if the model was trained with them
  --ivectors <source>    i-vectors, if it was: a directory of ivector_online.scp, or an rspecifier"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
data=$1
model=$2
dir=$3
log=$dir/log
check_runner "$log"

require_files "$data/feats.scp" "$data/utt2spk" "$model/final.pt"
check_share "$max_dropped"
depends_on "nj apply_log no_softmax max_dropped ivectors" "$data"/*.scp "$data/utt2spk" "$model/final.pt" \
  "$transform_dir" "$ivectors"
set_job_files "$dir"/output.JOB.{ark,scp}
set_judged_logs "$log/forward.JOB.log"
if [ "$stage" -le 0 ] && already_done "$dir/.forward.done" "$dir/feats.scp" "${job_files[@]}"; then exit 0; fi
hold_directory "$dir"
make_dir "$log"
set_table_dir out "$dir"

if [ "$stage" -le 0 ]; then
  # shellcheck disable=SC2154 # out is set by its name
  begin_jobs "$nj" "$log/forward.JOB.log" "$out"/output.JOB.{ark,scp}
  sdata=$(make_split "$data" "$nj" "$dir") || exit 1
  set_side_inputs
  set_resources "$use_gpu"
  # Each job may lose what it must; the limit is on their sum.
  run_jobs ${resources[@]+"${resources[@]}"} "$log/forward.JOB.log" \
    dkt forward --apply-log="$apply_log" --no-softmax="$no_softmax" --use-gpu="$use_gpu" --num-threads=1 \
    --max-dropped=1 ${side[@]+"${side[@]}"} "$model/final.pt" "$sdata/JOB" \
    ark,scp:"$made/output.JOB.ark,$made/output.JOB.scp"
  verdict
  back_up "$dir" feats.scp
  place_jobs
fi

parts=()
for job in $(seq "$nj"); do parts+=("$dir/output.$job.scp"); done
require_files "${parts[@]}"
write_file "$dir/feats.scp" sort_files "${parts[@]}"
[ "$stage" -ge 1 ] || mark_done
echo "$script_name: outputs of $(wc -l <"$dir/feats.scp") utterances in $dir/feats.scp, logs in $log"
