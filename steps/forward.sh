#!/usr/bin/env bash
# Writes the posteriors of a network (or their logarithms, or logits) as archives that Kaldi reads.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/networks.sh"
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
  --stage <n>            0: run the network, 1: only gather what the jobs wrote (0)
  --nj <n>               number of jobs (4)
  --cmd <cmd>            how to run them (run.pl)
  --apply-log <bool>     log-posteriors (false)
  --no-softmax <bool>    logits (false)
$network_help"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
data=$1
srcdir=$2
dir=$3
logdir=$dir/log
check_runner "$logdir"

require_network
depends_on "nj apply_log no_softmax max_dropped ivectors" "$data"/*.scp "$data/utt2spk" "$srcdir/final.pt" \
  "$transform_dir" "$ivectors"
set_job_files "$dir"/output.JOB.{ark,scp}
set_judged_logs "$logdir/forward.JOB.log"
if [ "$stage" -le 0 ] && already_done "$dir/.forward.done" "$dir/feats.scp" "${job_files[@]}"; then exit 0; fi
hold_directory "$dir"
make_dir "$logdir"
tables=$dir
set_table_dir tables "$tables"

if [ "$stage" -le 0 ]; then
  begin_network_jobs "$dir" "$logdir/forward.JOB.log" "$tables"/output.JOB.{ark,scp}
  # Each job may lose what it must; the limit is on their sum.
  run_jobs ${resources[@]+"${resources[@]}"} "$logdir/forward.JOB.log" \
    dkt forward --apply-log="$apply_log" --no-softmax="$no_softmax" --use-gpu="$use_gpu" --num-threads=1 \
    --max-dropped=1 ${side[@]+"${side[@]}"} "$srcdir/final.pt" "$sdata/JOB" \
    ark,scp:"$made/output.JOB.ark,$made/output.JOB.scp"
  verdict
  back_up "$dir" feats.scp
  place_jobs
fi

gather_jobs "$dir/feats.scp" "$dir/output.JOB.scp"
[ "$stage" -ge 1 ] || mark_done
echo "$script_name: outputs of $(wc -l <"$dir/feats.scp") utterances in $dir/feats.scp, logs in $logdir"
