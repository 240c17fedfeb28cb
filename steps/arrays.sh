#!/usr/bin/env bash
# Jobs, one or an array, that are known to have run to their end; sourced by common.sh. Of an array only those jobs run
# whose results are not there yet. After depends_on and already_done a step writes
#
#   begin_jobs "$nj" "$log/forward.JOB.log" "$dir/output.JOB.ark"...
#   is_resumed || remove what an earlier call left
#   run_jobs "$log/forward.JOB.log" dkt forward...
#
# A job that ends well makes its mark last of all. A queue that says OK has not always run it, and a log tells nothing
# of a job that was killed with its machine.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# What already_done sets; a step that is told to begin at a later stage does not call it.
step_inputs=
kept_results=

# _job_mark number: the place of the mark of a job.
_job_mark() { echo "$job_marks/$1"; }

# _job_inputs: what the jobs depend on.
_job_inputs() { printf 'of %s jobs\n%s\n' "$num_jobs" "$step_inputs"; }

# begin_jobs n log result...: sets the array pending, the jobs of n whose results are not there and whole, of the inputs
# that the step has now. Log and results are names with JOB in place of the number of the job.
begin_jobs() {
  local name=${2##*/} job
  num_jobs=$1
  jobs_log=$2
  _job_results=("${@:3}")
  job_marks=$(dirname "$2")/.${name%.JOB.log}.jobs
  _job_mark_dirs+=("$job_marks")
  if _is_outdated "$job_marks/inputs" || ! cmp -s "$job_marks/inputs" <(_job_inputs); then rm -rf "$job_marks"; fi
  make_dir "$job_marks"
  pending=()
  for job in $(seq "$num_jobs"); do
    _job_is_whole "$job" || pending+=("$job")
  done
  write_file "$job_marks/inputs" _job_inputs
  is_resumed || return 0
  if [ ${#pending[@]} = 0 ]; then
    echo "$script_name: all $num_jobs jobs are done already"
  else
    echo "$script_name: of $num_jobs jobs $((num_jobs - ${#pending[@]})) are done already: only $(_list_jobs "${pending[@]}") now"
  fi
}

# is_resumed: whether some of the jobs of begin_jobs are done already.
is_resumed() { [ ${#pending[@]} -lt "$num_jobs" ]; }

# _list_jobs number...: as text: job 3; jobs 1, 2, 7.
_list_jobs() {
  local text=$1 job
  for job in "${@:2}"; do text+=", $job"; done
  if [ $# -gt 1 ]; then echo "jobs $text"; else echo "job $text"; fi
}

# _set_results number: sets the array results, those of a job.
_set_results() {
  local result
  results=()
  for result in ${_job_results[@]+"${_job_results[@]}"}; do results+=("${result//JOB/$1}"); done
}

# is_kept file: whether a result that the mark of already_done told of is still what it was.
is_kept() { [[ -e $1 && $'\n'$kept_results$'\n' == *$'\n'"$(_describe "$1")"$'\n'* ]]; }

# _job_is_whole number: whether a job has its log and its results, as it left them.
_job_is_whole() {
  local results result mark line
  mark=$(_job_mark "$1")
  [ -e "${jobs_log//JOB/$1}" ] || return 1
  [ -e "$mark" ] || [ -n "$kept_results" ] || return 1
  _set_results "$1"
  for result in "${results[@]}"; do [ -e "$result" ] || return 1; done
  if [ -e "$mark" ]; then
    # An empty one was made by the job itself, in a step that was stopped before it looked at it.
    [ ! -s "$mark" ] || cmp -s "$mark" <(_describe "${results[@]}")
    return
  fi
  while IFS= read -r line; do
    [[ $'\n'$kept_results$'\n' == *$'\n'"$line"$'\n'* ]] || return 1
  done < <(_describe "${results[@]}")
  # All files of a directory are still there.
  for result in "${results[@]}"; do
    [ ! -d "$result" ] || [ "$(_describe "$result" | wc -l)" = "$(grep -c -F "$(_place "$result")/" <<<"$kept_results")" ] ||
      return 1
  done
  write_file "$mark" _describe "${results[@]}"
}

# _set_words mark word...: sets the array words, the command with the mark at its end and, if it begins with a pipe,
# with a line for the log that tells how each of its programs ended; and job_program, the first of them.
_set_words() {
  local word names=() expected=true whole=false report=()
  words=()
  for word in "${@:2}" "$AND"; do
    case $word in
      "$THEN") names=() && expected=true ;;
      "$PIPE") expected=true ;;
      "$AND")
        if ! "$whole" && [ ${#names[@]} -gt 1 ]; then
          report=("${names[@]/%/,}")
          words+=("$OR" "$OPEN" echo "pipe of" "${report[@]}" "ended with" "$STATUSES" "$THEN" exit 1 "$THEN" "$CLOSE")
        fi
        whole=true
        ;;
      *)
        if "$expected" && ! "$whole"; then
          names+=("${word##*/}")
          expected=false
        elif ! "$whole" && [ "${names[*]: -1}" = dkt ]; then
          names[-1]="dkt $word"
        fi
        ;;
    esac
    words+=("$word")
  done
  words+=(touch "$1")
  # shellcheck disable=SC2034 # for failures.sh
  job_program=${names[0]}
}

# run_job [--gpu n] [--num-threads n] log word...: runs one job; fails if it did not run to its end, for job_failed to
# say why.
run_job() {
  local options=() words mark
  while [[ $1 == --* ]]; do options+=("$1" "$2") && shift 2; done
  mark=$(dirname "$1")/.$(basename "$1" .log).ended
  rm -f "$1" "$mark"
  _set_words "$mark" "${@:2}"
  runner_status=0
  call_runner ${options[@]+"${options[@]}"} "$1" "${words[@]}" || runner_status=$?
  _wait_for "$mark" "$1"
  _are_there "$mark" "$1" || return 1
  rm -f "$mark"
  [ "$runner_status" = 0 ]
}

# _are_there file...: whether all of these files are there.
_are_there() {
  local file
  for file in "$@"; do [ -e "$file" ] || return 1; done
}

# _wait_for file...: where the runner says that all is well, gives a disk on the network a moment to show the files.
_wait_for() {
  local tries
  for tries in 1 2; do
    [ "$runner_status" = 0 ] && ! _are_there "$@" || return 0
    sleep "$tries"
    ls "$(dirname "$1")" >/dev/null
  done
}

# _set_ranges: sets the array ranges, the pending jobs as runners take them: dkt's run.pl any, others those from one
# number to another.
_set_ranges() {
  local runner job first=${pending[0]} last=${pending[0]}
  ranges=()
  for job in "${pending[@]:1}" end; do
    if [ "$job" != $((last + 1)) ]; then
      ranges+=("$first:$last")
      first=$job
    fi
    last=$job
  done
  set_runner
  if [ "$(command -v "${runner[0]}")" -ef "$DKT_ROOT/steps/utils/run.pl" ]; then
    ranges=("$(IFS=, && echo "${ranges[*]}")")
  fi
}

# run_jobs [--gpu n] [--num-threads n] log word...: runs those jobs of an array that begin_jobs has found pending. Stops
# with the numbers of those that failed, and why the first of them did.
run_jobs() {
  local options=() words results ranges job range log failed=() files=()
  while [[ $1 == --* ]]; do options+=("$1" "$2") && shift 2; done
  log=$1
  [ ${#pending[@]} -gt 0 ] || return 0
  for job in "${pending[@]}"; do
    _set_results "$job"
    rm -rf "${log//JOB/$job}" "$(_job_mark "$job")" ${results[@]+"${results[@]}"}
  done
  _set_words "$(_job_mark JOB)" "${@:2}"
  _set_ranges
  _run_ranges
  for job in "${pending[@]}"; do files+=("$(_job_mark "$job")" "${log//JOB/$job}"); done
  _wait_for "${files[@]}"
  for job in "${pending[@]}"; do
    if _are_there "$(_job_mark "$job")" "${log//JOB/$job}"; then
      _set_results "$job"
      write_file "$(_job_mark "$job")" _describe ${results[@]+"${results[@]}"}
    else
      failed+=("$job")
    fi
  done
  [ ${#failed[@]} = 0 ] || jobs_failed "$log" "${failed[@]}"
  [ "$runner_status" = 0 ] || die "${cmd%% *} failed, though all jobs went well (what it said is above): call the step again"
}

# _run_ranges: calls the runner for each of the ranges; queues can have them all at once.
_run_ranges() {
  local pids=() pid
  runner_status=0
  for range in "${ranges[@]}"; do
    if [ ${#ranges[@]} = 1 ]; then
      call_runner ${options[@]+"${options[@]}"} JOB="$range" "$log" "${words[@]}" || runner_status=$?
      return
    fi
    call_runner ${options[@]+"${options[@]}"} JOB="$range" "$log" "${words[@]}" &
    pids+=($!)
    if [[ $cmd =~ run\.pl ]]; then
      # On this machine the ranges would get in each other's way.
      wait "$!" || runner_status=$?
      pids=()
    fi
  done
  for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" || runner_status=$?; done
}
