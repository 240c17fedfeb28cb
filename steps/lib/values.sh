#!/usr/bin/env bash
# What options and arguments may hold; sourced by common.sh.
# shellcheck disable=SC2154 # variables of the script

# Options of one name hold the same in every step.
_whole_numbers="stop_stage num_iters max_iter_inc totgauss order max_active min_active min_lmwt max_lmwt \
  fmllr_min_count num_replications random_seed"
_numbers="beam retry_beam lattice_beam max_mem boost_silence power sil_prob transition_scale self_loop_scale lmwt \
  scale_low scale_high fg_interval"
_whole_or_empty="stage seed num_train num_dev num_test"
_numbers_or_empty="acwt temperature lambda frame_shift"
_lists="realign_iters lmwts word_ins_penalties temperatures factors seeds speeds"
_paths="srcdir model nnet class_frame_counts transform_dir transform_dir_dev ali_dir hmm_dir log_dir cache_dir teacher \
  teacher_data_train teacher_data_dev init_model dnn_config lstm_config nnet_config train_config mfcc_config fbank_config dev_text \
  reco2vol write_reco2vol bg_noise_dir fg_noise_dir"

# Options by the names that they had in earlier versions: those are still taken, and are found in marks.
# shellcheck disable=SC2034 # for parse_options.sh and marks.sh
renamed_options="max_loss=max_dropped streams=paste"

# _is_option name: whether the script has this option. A variable of this name may also come from the environment.
_is_option() { [ -n "${!1+x}" ] && [[ ${help_message:-} == *"--${1//_/-}"* ]]; }

# _check_option names pattern what: stops if the value of one of these options is not of the pattern.
_check_option() {
  local name
  for name in $1; do
    if _is_option "$name" && ! [[ ${!name} =~ ^($2)$ ]]; then
      die "--${name//_/-} is '${!name}', expected $3"
    fi
  done
}

# check_numbers: stops if an option that is a number, or a list of them, holds anything else.
check_numbers() {
  local whole='0|-?[1-9][0-9]{0,17}' number='[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?'
  _check_option nj '([1-9][0-9]{0,3}|10000)?' "a number above 0, at most 10000"
  _check_option num_utts '([1-9][0-9]{0,8})?' "a number above 0"
  _check_option "$_whole_numbers" "$whole" "a whole number"
  _check_option "$_whole_or_empty" "($whole)?" "a whole number"
  _check_option "$_numbers" "$number" "a number"
  _check_option "$_numbers_or_empty" "($number)?" "a number"
  _check_option "$_lists" "[[:space:]]*($number([[:space:]]+$number)*)?[[:space:]]*" "numbers with blanks between them"
  _check_option word_ins_penalty "$number(,$number)*" "numbers with commas between them"
  _check_option num_threads "(auto|$whole)?" "a whole number, or auto"
  _check_option "max_dropped max_oov" '([0-9]+[.]?[0-9]*|[.][0-9]+)?' "a share from 0 to 1"
  _check_option use_gpu 'yes|no|optional' "yes, no or optional"
}

# _set_path name: sets path to a name that no program takes for anything but a path: not for an option (-x), an
# assignment of awk's (x=1), a table or a pipe of Kaldi's (ark:x, |x). Stops if no program could.
_set_path() {
  path=$1
  case $path in
    "" | /* | ./* | ../*) ;;
    [!A-Za-z0-9_.]* | *[=:]*) path=$PWD/$path ;;
  esac
  # What is looked at is what the jobs are told, the working directory in front of it.
  case $path in
    *$'\n'*) die "'${path//$'\n'/\\n}' holds a line break, which the lists of Kaldi cannot" ;;
    *JOB*) ! _is_option nj || refuse_job_word "$path" ;;
  esac
}

# refuse_job_word path...: stops if one of these paths holds the word that stands for the number of a job.
refuse_job_word() {
  local path
  for path in "$@"; do
    [[ $path != *JOB* ]] || die "'$path' holds JOB, which run.pl replaces by the number of the job: use another name"
  done
}
