#!/usr/bin/env bash
# What the training steps look at before they begin; sourced after common.sh by steps that have the options --cmd and
# --max-dropped and, if they train, --skip-check.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# Of all steps that check: what is absurd about alignments may be let pass.
allow_implausible=false

# show_findings log: the table and the summary that dkt check wrote.
show_findings() { [ ! -f "$1" ] || grep -vE '^(#|INFO |ERROR |$)' "$1" || true; }

# _set_check_options [suffix]: sets the array check_options, what the options of a training mean to dkt check; the suffix
# is _dev for those of the dev data.
_set_check_options() {
  local side
  check_options=(--allow-implausible="$allow_implausible")
  [ -z "${network_config:-}" ] || check_options+=(--train-config="$network_config" --recipe="${network:-any}")
  set_speaker_inputs "${1:-}"
  check_options+=(${side[@]+"${side[@]}"})
}

# _check_data log argument...: calls dkt check; if it fails, shows what it found and returns 1.
_check_data() {
  local log=$1
  # A training reads neither text nor audio.
  # shellcheck disable=SC2154
  if ! run_job "$log" dkt check --no-text --no-wav --max-dropped="$max_dropped" --list="${log%.log}.list" \
    ${check_options[@]+"${check_options[@]}"} "${@:2}"; then
    show_findings "$log" >&2
    return 1
  fi
  # By the environment, as awk reads escapes in the values of -v.
  log_name=$log awk -v step="$script_name" '
    /^[A-Za-z0-9_. ]+  warning  / { warnings++ }
    / would be used; / { summary = $0 }
    END {
      print step ": " summary
      if (warnings) print step ": " warnings (warnings == 1 ? " warning" : " warnings") " in " ENVIRON["log_name"]
    }' "$log"
}

# check_training_data dir lang data-train data-dev [ali-train ali-dev]: stops unless data and alignments are fit for
# the training in dir. A training that is finished is not looked at again.
check_training_data() {
  local logdir=$1/log
  local failed=()
  # shellcheck disable=SC2154
  if "$skip_check" || [ -e "$1/final.pt" ]; then return 0; fi
  make_dir "$logdir"
  _set_check_options
  _check_data "$logdir/check_train.log" --lang="$2" "$3" ${5+"$5"} || failed+=("$logdir/check_train.log")
  _set_check_options _dev
  _check_data "$logdir/check_dev.log" --train-data="$3" --lang="$2" "$4" ${6+"$6" "$5"} || failed+=("$logdir/check_dev.log")
  [ ${#failed[@]} = 0 ] || job_failed "${failed[@]}"
}

# retire_priors dir: where no network is there yet, moves away the priors that make_priors.sh made of an earlier one, as
# decoding would take them for those of the new one.
retire_priors() {
  [ ! -e "$1/final.pt" ] || return 0
  rm -f "$1/.make_priors.done"
  back_up "$1" prior_counts
}
