#!/usr/bin/env bash
# The training of a network, whichever it is; sourced after common.sh by steps that train one, which then set
# help_message, source options.sh and call train_network.
# shellcheck disable=SC2034 # options are read by their names
# shellcheck disable=SC2154 # variables of common.sh
. "$DKT_ROOT/steps/lib/checks.sh"

stage=0
cmd=run.pl
mode=
soft_targets=
soft_targets_dev=
targets_form=
transition_ids=false
shuffle_targets=false
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

# What these options are, for the help of a step.
training_help="  --stage <n>                up to 0: train, 1: only see that the network is there (0)
  --cmd <cmd>                how to run the job (run.pl)
  --seed <n>                 overrides training.seed of the configuration
  --use-gpu <how>            yes, no or optional (optional)
  --num-threads <n>          CPU threads, asked of the queue too, or auto: as many as pay, one where others compute (auto)
  --max-dropped <share>      share of utterances that may lack an alignment (0.05)
  --cache-dir <dir>          where packed features are kept (.packed of the data, or of <exp-dir> if those cannot be
                             written in); none: read the archives all along
  --steal-lock <bool>        take <exp-dir> from another process: one of another host that is dead (false)
  --skip-check <bool>        leave out dkt check, which reads all data before the training (false)
  --allow-implausible <bool> let alignments pass that cannot be right (false)
  --transform-dir, --transform-dir-dev <dir>   fMLLR transforms (trans.JOB) of training and dev data
  --ivectors, --ivectors-dev <source>          i-vectors: a directory of ivector_online.scp, or an rspecifier
what is learnt:
  --mode <mode>              hard, soft, pretrain (soft, then hard), interpolate, logits, conditional, teacher_labels, smooth, hint
                             (objective.mode of the configuration: hard)
  --soft-targets <dir>       of steps/make_soft_targets.sh, or an rspecifier of Kaldi's posteriors
  --soft-targets-dev <dir>   those of <data-dev>; needed unless they are in the same directory
  --targets-form <form>      of Kaldi's matrices: posteriors, log-posteriors or logits (posteriors)
  --transition-ids <bool>    Kaldi's Posteriors are of transition-ids, not pdf-ids (false)
  --shuffle-targets <bool>   a control: each frame gets the posteriors of another frame of the same label (false)
  --teacher <dir>            run it now; beside --soft-targets: make sure that they are its
  --teacher-data-train, --teacher-data-dev <data>   its features, if they are not the student's
  --top-k <n>                posteriors kept per frame of archives and of a teacher that is run, or all
                             (20, or all where there are fewer pdfs)
  --temperature <T>          of soft, interpolate and conditional (1)
  --lambda <share>           of interpolate: the weight of the teacher (0.5)
  --smoothing <share>        of smooth (0.1)
  --init-model <final.pt>    begin from its weights, with the schedule fine_tuning
  --no-ali <bool>            no alignments: the teacher alone labels the data (false)
  --hmm-dir <dir>            of --no-ali: with final.mdl and ali_train_pdf.counts (that of the teacher)
An interrupted training goes on after its last finished epoch, without any option; a finished one is left as it is."

# Those that are passed on as they are.
_training_options="mode soft_targets soft_targets_dev targets_form teacher teacher_data_train teacher_data_dev top_k \
  temperature lambda smoothing init_model hmm_dir transform_dir transform_dir_dev ivectors ivectors_dev max_dropped"

# train_network command config argument...: trains by dkt train-dnn, train-lstm or train, with the arguments of the step.
train_network() {
  local command=$1
  network_config=$2
  shift 2
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
  logdir=$dir/log
  log=$logdir/train.log
  network=${command#train}
  network=${network#-}
  step=$(basename "$0" .sh)
  check_runner "$logdir"
  _check_training_inputs
  hold_directory "$dir"
  _depends_on_training
  if [ "$stage" -le 0 ] && ! already_done "$dir/.$step.done" "$dir"/final.{pt,mdl,nnet,feature_transform} \
    "$dir"/{tree,phones.txt,ali_train_pdf.counts}; then
    check_training_data "$dir" "$lang" "$data" "$data_dev" ${alignments[@]+"${alignments[@]}"}
    _run_training "$command"
    mark_done
  fi
  require_files "$dir/final.pt" "$dir/final.mdl"
  echo "$script_name: network in $dir/final.pt, learning curve in $dir/history.csv, log in $log"
}

_check_training_inputs() {
  require_files "$data/feats.scp" "$data_dev/feats.scp" "$lang/phones.txt"
  if "$no_ali"; then
    check_phones "$lang" "${hmm_dir:-${teacher:-$soft_targets}}"
  else
    require_files "${alignments[0]}/final.mdl" "${alignments[0]}/num_jobs" "${alignments[1]}/final.mdl" \
      "${alignments[1]}/num_jobs"
    check_phones "$lang" "${alignments[@]}"
  fi
  [ -z "$network_config" ] || require_files "$network_config"
  configured=()
  set_config_files configured "" "$network_config" "$data" "$data_dev"
}

# _depends_on_training: tells what the result is made of.
_depends_on_training() {
  local inputs=("${configured[@]}" "$init_model" ${alignments[@]+"${alignments[@]}"})
  local place
  for place in "$data" "$data_dev" "$teacher_data_train" "$teacher_data_dev"; do
    [ -z "$place" ] || inputs+=("$place"/*.scp "$place/utt2spk")
  done
  for place in "$soft_targets" "$soft_targets_dev" "$teacher" "$hmm_dir"; do
    [ -z "$place" ] || inputs+=("$place/soft.scp" "$place/final.pt" "$place/final.mdl" "${place#*:}")
  done
  depends_on "seed no_ali transition_ids shuffle_targets $_training_options" "${inputs[@]}" "$transform_dir" "$transform_dir_dev" \
    "$ivectors" "$ivectors_dev"
}

_run_training() {
  local given
  # shellcheck disable=SC2086 # words
  set_given use_gpu steal_lock $_training_options num_threads cache_dir
  local options=("${given[@]}")
  ! "$shuffle_targets" || options+=(--shuffle-targets)
  ! "$transition_ids" || options+=(--transition-ids)
  ! "$no_ali" || options+=(--no-ali)
  [ -z "$seed" ] || options+=(--set=training.seed="$seed")
  [ -z "$network_config" ] || options+=(--config="$network_config")
  make_dir "$logdir"
  retire_priors "$dir"
  set_resources "$use_gpu" "$num_threads"
  run_job ${resources[@]+"${resources[@]}"} "$log" dkt "$1" "${options[@]}" "$data" "$data_dev" \
    ${alignments[@]+"${alignments[@]}"} "$dir" || job_failed "$log"
  tell_losses "$log"
}
