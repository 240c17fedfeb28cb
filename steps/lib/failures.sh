#!/usr/bin/env bash
# Why a job failed, as its log tells; sourced by common.sh.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# _is_kill status: whether it is that of a program that was killed, by another signal than that of a broken pipe.
_is_kill() { [ "$1" -gt 128 ] && [ "$1" -lt 193 ] && [ "$1" != 141 ]; }

# _set_status log: sets status to the exit status of a job, as the runner has written it at the end of the log, 128 and
# the number of the signal that killed it; nothing if the log has no end. In a pipe it is that of the program that is to
# blame, and program that program: one that was killed, else the first that failed; the others often fail for lack of
# input, or because nobody reads on.
_set_status() {
  local line names statuses i blamed=
  program=$job_program
  status=
  line=$(grep -a -E '^# (Ended \(|Finished at .* with status )' "$1" | tail -n 1) || true
  if [[ $line =~ \(code\ ([0-9]+)(\;\ signal\ ([0-9]+))?\) ]]; then
    status=${BASH_REMATCH[1]}
    [ -z "${BASH_REMATCH[3]}" ] || status=$((128 + BASH_REMATCH[3]))
  elif [[ $line =~ with\ status\ ([0-9]+) ]]; then
    status=${BASH_REMATCH[1]}
  elif grep -a -q -E ': line [0-9]+: +[0-9]+ Killed ' "$1"; then
    status=137
  fi
  line=$(grep -a -E '^pipe of .*, ended with [0-9 ]+$' "$1" | tail -n 1) || true
  [[ $line =~ ^pipe\ of\ (.*),\ ended\ with\ ([0-9\ ]+)$ ]] || return 0
  IFS=, read -r -a names <<<"${BASH_REMATCH[1]}"
  read -r -a statuses <<<"${BASH_REMATCH[2]}"
  for i in "${!statuses[@]}"; do
    if _is_kill "${statuses[i]}"; then
      blamed=$i
      break
    fi
    case ${statuses[i]} in 0 | 141) ;; *) blamed=${blamed:-$i} ;; esac
  done
  [ -n "$blamed" ] || return 0
  program=${names[blamed]# }
  status=${statuses[blamed]}
}

# What a shell or a loader says of a program that cannot be run, behind its name.
readonly _NOT_RUN='(command not found|bad interpreter: .*|cannot execute.*|Permission denied|Exec format error'\
'|Is a directory|No such file or directory|Text file busy|error while loading shared libraries: .*)$'

# _set_not_run log: sets reason to what the shell says of the program that it could not run, with status 126 or 127.
_set_not_run() {
  reason=$(grep -a -h -m 1 -E "^([^ ]*sh|[^ ]*/[^ ]*): (line [0-9]+: |[0-9]+: )?.*$_NOT_RUN" "$1") ||
    reason=$(grep -a -h -m 1 -E ": $_NOT_RUN" "$1") || true
  [[ ! $reason =~ ^[^\ ]*sh:\ ((line\ )?[0-9]+:\ )?(.*)$ ]] || reason=${BASH_REMATCH[3]}
  reason="$program could not be run${reason:+ ($reason)}: is it there, executable, and for this machine?"
}

# _last_line log: what it says last.
_last_line() { grep -a -v -E '^#|^pipe of .*, ended with |^$' "$1" | tail -n 1 || true; }

# _set_reason log: sets reason to a sentence on why the job failed; nothing if the log does not tell.
_set_reason() {
  local program status
  _set_status "$1"
  if [ -n "$status" ] && _is_kill "$status"; then
    reason="$program was killed by signal $((status - 128)) (SIG$(kill -l $((status - 128))))"
    [ "$status" != 137 ] ||
      reason+=", as the system does when memory runs out: run fewer jobs at once, or ask the queue for more memory"
    return 0
  fi
  reason=$(grep -a -h -m 1 -E "^ERROR \\($program\\)|^$program: error: " "$1" 2>/dev/null) ||
    reason=$(grep -a -h -m 1 -E '^ERROR \(|^dkt [a-z-]+: error: |^[A-Za-z_.]*Error|: command not found$' "$1") || true
  reason=${reason%%$'\n'*}
  reason=${reason#ERROR }
  case $reason:$status in
    :126 | :127 | *": command not found:127") _set_not_run "$1" ;;
    : | :0) ;;
    :*)
      reason=$(_last_line "$1")
      reason="$program ended with status $status${reason:+; the last line of its log is: $reason}"
      ;;
  esac
  if [ -z "$reason" ] && [ -z "$status" ]; then
    reason=$(_last_line "$1")
    # Not every runner marks the end of a log.
    if [ "${runner_status:-1}" = 0 ] || [[ $(head -n 1 "$1") == '#'* ]]; then
      reason="its log has no end: was it stopped, or at a limit of the queue?${reason:+ The last line is: $reason}"
    fi
  fi
}

# _did_it_run: what to ask where the runner said that all is well.
_did_it_run() {
  if [ "${runner_status:-1}" = 0 ]; then
    echo "though ${cmd%% *} said that all went well: did the queue run it?"
  else
    echo "and ${cmd%% *} failed (what it said is above)"
  fi
}

# job_failed log...: stops with the reason for which a job failed, as in
#   run_job "$log" program... || job_failed "$log"
job_failed() {
  local log reason=
  for log in "$@"; do
    [ -e "$log" ] || die "the job left no log ($log), $(_did_it_run)"
    [ -n "$reason" ] || _set_reason "$log"
  done
  die "${reason:+$reason - }a job failed, log is in $1$([ $# = 1 ] || echo " and others beside it")"
}

# jobs_failed log number...: the same of jobs of an array; the log is a name with JOB in place of the number.
jobs_failed() {
  local first=${1//JOB/$2} jobs reason='' which=() job
  for job in "${@:2}"; do [ -e "${1//JOB/$job}" ] || which+=("$job"); done
  if [ ${#which[@]} -gt 0 ]; then
    die "$(_list_jobs "${which[@]}") of $num_jobs left no log (${1//JOB/${which[0]}}), $(_did_it_run)"
  fi
  _set_reason "$first"
  jobs="$(_list_jobs "${@:2}") of $num_jobs"
  [ "$num_jobs" -gt 1 ] || jobs="a job"
  [ $# -gt 2 ] || die "${reason:+$reason - }$jobs failed, log is in $first"
  die "${reason:+$reason - }$jobs failed, logs are in $first and others beside it"
}
