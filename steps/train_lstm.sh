#!/usr/bin/env bash
# Trains an LSTM on the alignments of a GMM, on the soft targets of a teacher, or on both.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/checks.sh"
set -euo pipefail

stage=0
cmd=run.pl
mode=
soft_targets=
soft_targets_dev=
targets_form=
transition_ids=false
teacher=
teacher_data_train=
teacher_data_dev=
top_k=
temperature=
lambda=
smoothing=
init_model=
no_ali=false
hmm_dir=
lstm_config=
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
help_message="Usage: steps/train_lstm.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp-dir>
       steps/train_lstm.sh --no-ali true [options] <data-train> <data-dev> <lang-dir> <exp-dir>
 e.g.: steps/train_lstm.sh --mode pretrain --temperature 2 \\
         --soft-targets exp/dnn/soft_train --soft-targets-dev exp/dnn/soft_dev \\
         data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp/lstm_pretrain_T2
options:
  --mode <mode>              hard, soft, pretrain (soft, then hard), mix, logits, conditional, smooth
                             (objective.mode of the configuration: hard)
  --soft-targets <dir>       of steps/make_soft_targets.sh, or an rspecifier of Kaldi's posteriors
  --soft-targets-dev <dir>   those of <data-dev>; needed unless they are in the same directory
  --targets-form <form>      of Kaldi's matrices: posteriors, log-posteriors or logits (posteriors)
  --transition-ids <bool>    Kaldi's Posteriors are of transition-ids, not pdf-ids (false)
  --teacher <dir>            run it now; beside --soft-targets: make sure that they are its
  --teacher-data-train, --teacher-data-dev <data>   its features, if they are not the student's
  --top-k <n>                posteriors kept of a frame of archives and of a teacher that is run, or all
                             (20, or all where there are fewer pdfs)
  --temperature <T>          of soft, pretrain, mix and conditional (1)
  --lambda <share>           of mix: the weight of the teacher (0.5)
  --smoothing <share>        of smooth (0.1)
  --init-model <final.pt>    begin from its weights, with the schedule fine_tuning
  --no-ali <bool>            no alignments: the teacher alone labels the data (false)
  --hmm-dir <dir>            of --no-ali: with final.mdl and ali_train_pdf.counts (that of the teacher)
  --lstm-config <yaml>       features, network, objective, batches, optimizer, schedule and fine_tuning
  --stage, --cmd, --seed, --use-gpu, --num-threads, --max-dropped, --cache-dir, --skip-check, --allow-implausible,
  --steal-lock               as of train_dnn.sh
  --transform-dir, --transform-dir-dev <dir>   fMLLR transforms (trans.JOB) of training and dev data
  --ivectors, --ivectors-dev <source>          i-vectors: a directory of ivector_online.scp, or an rspecifier
An interrupted training goes on after its last finished epoch, without any option; a finished one is left as it is."
. "$DKT_ROOT/steps/lib/options.sh"

if "$no_ali"; then
  [ $# = 4 ] || usage
  alignments=()
else
  [ $# = 6 ] || usage
  alignments=("$4" "$5")
fi
data=$1
data_dev=$2
lang=$3
dir=${!#}
log=$dir/log/train.log
check_runner "$(dirname "$log")"

require_files "$data/feats.scp" "$data_dev/feats.scp" "$lang/phones.txt"
if "$no_ali"; then
  check_phones "$lang" "${hmm_dir:-${teacher:-$soft_targets}}"
else
  require_files "$4/final.mdl" "$4/num_jobs" "$5/final.mdl" "$5/num_jobs"
  check_phones "$lang" "${alignments[@]}"
fi
names="mode soft_targets soft_targets_dev targets_form teacher teacher_data_train teacher_data_dev top_k temperature \
  lambda smoothing init_model hmm_dir transform_dir transform_dir_dev ivectors ivectors_dev max_dropped"
[ -z "$lstm_config" ] || require_files "$lstm_config"
configured=()
set_config_files configured "" "$lstm_config" "$data" "$data_dev"
inputs=("${configured[@]}" "$init_model" ${alignments[@]+"${alignments[@]}"})
for place in "$data" "$data_dev" "$teacher_data_train" "$teacher_data_dev"; do
  [ -z "$place" ] || inputs+=("$place"/*.scp "$place/utt2spk")
done
for place in "$soft_targets" "$soft_targets_dev" "$teacher" "$hmm_dir"; do
  [ -z "$place" ] || inputs+=("$place/soft.scp" "$place/final.pt" "$place/final.mdl" "${place#*:}")
done
hold_directory "$dir"
depends_on "seed no_ali transition_ids $names" "${inputs[@]}" "$transform_dir" "$transform_dir_dev" "$ivectors" \
  "$ivectors_dev"

if [ "$stage" -le 0 ] && ! already_done "$dir/.train_lstm.done" "$dir"/final.{pt,mdl,nnet,feature_transform} \
  "$dir"/{tree,phones.txt,ali_train_pdf.counts}; then
  check_training_data "$dir" "$lang" "$data" "$data_dev" ${alignments[@]+"${alignments[@]}"}
  options=(--use-gpu="$use_gpu" --steal-lock="$steal_lock")
  ! "$transition_ids" || options+=(--transition-ids)
  ! "$no_ali" || options+=(--no-ali)
  [ -z "$seed" ] || options+=(--set=training.seed="$seed")
  for name in $names num_threads cache_dir; do
    [ -z "${!name}" ] || options+=("--${name//_/-}=${!name}")
  done
  [ -z "$lstm_config" ] || options+=(--config="$lstm_config")
  make_dir "$dir/log"
  retire_priors "$dir"
  set_resources "$use_gpu" "$num_threads"
  run_job ${resources[@]+"${resources[@]}"} "$log" dkt train-lstm "${options[@]}" "$data" "$data_dev" \
    ${alignments[@]+"${alignments[@]}"} "$dir" || job_failed "$log"
  tell_losses "$log"
  mark_done
fi
require_files "$dir/final.pt" "$dir/final.mdl"
echo "$script_name: network in $dir/final.pt, learning curve in $dir/history.csv, log in $log"
