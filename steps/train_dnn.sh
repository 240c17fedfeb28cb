#!/usr/bin/env bash
# Trains a DNN on the alignments of a GMM; arguments and files as of Kaldi's steps/nnet/train.sh.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/checks.sh"
set -euo pipefail

stage=0
cmd=run.pl
dnn_config=
seed=
use_gpu=optional
num_threads=
max_dropped=0.05
cache_dir=
transform_dir=
transform_dir_dev=
ivectors=
ivectors_dev=
skip_check=false
help_message="Usage: steps/train_dnn.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp-dir>
 e.g.: steps/train_dnn.sh --dnn-config conf/dnn.yaml data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp/dnn
options:
  --stage <n>          up to 0: train, 1: only see that the network is there (0)
  --cmd <cmd>          how to run the job (run.pl)
  --dnn-config <yaml>  features, network, optimizer and schedule
  --seed <n>           overrides training.seed of the configuration
  --use-gpu <how>      yes, no or optional (optional)
  --num-threads <n>    CPU threads, asked of the queue too, or auto: as many as pay, one where others compute (auto)
  --max-dropped <share>  share of utterances that may lack an alignment (0.05)
  --cache-dir <dir>    where packed features are kept (.packed of the data, or of <exp-dir> if those cannot be written
                       in); none: read the archives all along
  --steal-lock <bool>  take <exp-dir> from another process: one of another host that is dead (false)
  --skip-check <bool>  leave out dkt check, which reads all data before the training (false)
  --allow-implausible <bool>  let alignments pass that cannot be right (false)
  --transform-dir, --transform-dir-dev <dir>   fMLLR transforms (trans.JOB) of training and dev data
  --ivectors, --ivectors-dev <source>          i-vectors: a directory of ivector_online.scp, or an rspecifier
An interrupted training goes on after its last finished epoch, without any option; a finished one is left as it is."
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 6 ] || usage
data=$1
data_dev=$2
lang=$3
ali=$4
ali_dev=$5
dir=$6
log=$dir/log/train.log
check_runner "$(dirname "$log")"

require_files "$data/feats.scp" "$data_dev/feats.scp" "$lang/phones.txt" "$ali/final.mdl" "$ali/num_jobs" \
  "$ali_dev/final.mdl" "$ali_dev/num_jobs"
check_phones "$lang" "$ali" "$ali_dev"
[ -z "$dnn_config" ] || require_files "$dnn_config"
configured=()
set_config_files configured "" "$dnn_config" "$data" "$data_dev"
hold_directory "$dir"
depends_on "seed max_dropped ivectors ivectors_dev" "${configured[@]}" "$data"/*.scp "$data/utt2spk" "$data_dev"/*.scp \
  "$data_dev/utt2spk" "$ali" "$ali_dev" "$transform_dir" "$transform_dir_dev" "$ivectors" "$ivectors_dev"
if [ "$stage" -le 0 ] && ! already_done "$dir/.train_dnn.done" "$dir"/final.{pt,mdl,nnet,feature_transform} \
  "$dir"/{tree,phones.txt,ali_train_pdf.counts}; then
  check_training_data "$dir" "$lang" "$data" "$data_dev" "$ali" "$ali_dev"
  options=(--use-gpu="$use_gpu" --max-dropped="$max_dropped" --steal-lock="$steal_lock")
  [ -z "$dnn_config" ] || options+=(--config="$dnn_config")
  [ -z "$seed" ] || options+=(--set=training.seed="$seed")
  for name in transform_dir transform_dir_dev ivectors ivectors_dev cache_dir; do
    [ -z "${!name}" ] || options+=("--${name//_/-}=${!name}")
  done
  [ -z "$num_threads" ] || options+=(--num-threads="$num_threads")
  make_dir "$dir/log"
  retire_priors "$dir"
  set_resources "$use_gpu" "$num_threads"
  run_job ${resources[@]+"${resources[@]}"} "$log" dkt train-dnn "${options[@]}" "$data" "$data_dev" \
    "$ali" "$ali_dev" "$dir" || job_failed "$log"
  tell_losses "$log"
  mark_done
fi
require_files "$dir/final.pt" "$dir/final.mdl"
echo "$script_name: network in $dir/final.pt, learning curve in $dir/history.csv, log in $log"
