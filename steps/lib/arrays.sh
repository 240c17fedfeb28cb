#!/usr/bin/env bash
# Jobs, one or an array, that are known to have run to their end; sourced by common.sh. Of an array only those jobs run
# whose results are not there yet. After depends_on and already_done a step writes
#
#   begin_jobs "$nj" "$log/forward.JOB.log" "$dir/output.JOB.ark"...
#   run_jobs "$log/forward.JOB.log" dkt forward... ark:"$made/output.JOB.ark"
#   verdict
#   place_jobs
#
# No job writes under the name of a result: each call has a directory of its own, $made, beside the results, and one for
# its logs. So what a job of an earlier call does that a queue still runs is of no consequence, and what is there
# stays as it is until that which takes its place is whole and has been judged. A job that ends well makes its mark
# last of all: a queue that says OK has not always run it, and a log tells nothing of a job that was killed with its
# machine. The results of jobs that ended well are kept in $kept, for calls with the same options and inputs.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# For how many seconds what a job has written may be out of sight, on a disk of the network.
DKT_DISK_WAIT=${DKT_DISK_WAIT:-3}
[[ $DKT_DISK_WAIT =~ ^(0|[1-9][0-9]{0,3})$ ]] || die "DKT_DISK_WAIT is '$DKT_DISK_WAIT', expected seconds, 0 to 9999"

# What already_done sets; a step that is told to begin at a later stage does not call it.
step_inputs=
kept_results=
# Where results are that have not got their names yet; begin_jobs sets it.
kept=

# The files that the next jobs read and jobs of the same step have made, perhaps in an earlier call, by other options.
made_inputs=()

# _job_inputs: what the jobs depend on.
_job_inputs() {
  printf 'of %s jobs\n%s\n' "$num_jobs" "$(without_limits <<<"$step_inputs")"
  [ ${#made_inputs[@]} = 0 ] || _describe "${made_inputs[@]}"
}

# begin_jobs n log result...: sets the array pending, the jobs of n whose results are not there and whole, of the inputs
# that the step has now, and made, where they write them. Log and results are names with JOB in place of the number of
# the job; the results are all in one directory.
begin_jobs() {
  local name=${2##*/} job key
  num_jobs=$1
  jobs_log=$2
  _job_results=("${@:3}")
  name=${name%.log}
  name=.${name%.JOB}.jobs
  _results_dir=$(dirname "$3")
  _jobs_dir=$_results_dir/$name
  _logs_dir=$(dirname "$2")/$name
  _job_dirs+=("$_jobs_dir" "$_logs_dir")
  key=$(_job_inputs | sha256sum | cut -c 1-16)
  kept=$_jobs_dir/$key
  made=$_jobs_dir/$key-$(date +%s)-$$
  made_logs=$_logs_dir/${made##*/}
  make_dir "$kept" "$made" "$made_logs"
  pending=()
  for job in $(seq "$num_jobs"); do
    _job_is_whole "$job" || _take_earlier "$job" || pending+=("$job")
  done
  # Jobs of earlier calls that still run have nowhere to write.
  local old others=()
  while IFS= read -r -d '' old; do others+=("$old"); done < <(
    find "$_jobs_dir" "$_logs_dir" -mindepth 1 -maxdepth 1 ! -name "$key" ! -name "${made##*/}" -print0
  )
  remove_dirs ${others[@]+"${others[@]}"}
  is_resumed || return 0
  if [ ${#pending[@]} = 0 ]; then
    echo "$script_name: all $num_jobs jobs are done already"
  else
    echo "$script_name: of $num_jobs jobs $((num_jobs - ${#pending[@]})) are done already: only $(_list_jobs "${pending[@]}") now"
  fi
}

# remove_dirs dir...: removes what jobs have written in. One that still runs may be writing, or the disk of the network
# keep an open file: what is left does no harm, and goes another time.
remove_dirs() { rm -rf "$@" 2>/dev/null || true; }

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

# _set_place result: sets place to where a result is now; fails if there is none.
_set_place() {
  place=$kept/${1##*/}
  [ -n "$kept" ] && [ -e "$place" ] || place=$1
  [ -e "$place" ]
}

# set_made_files name: sets the array made_files, where this result of each of the nj jobs is now.
set_made_files() {
  local job place
  made_files=()
  for job in $(seq "$nj"); do
    _set_place "${1//JOB/$job}" || true
    made_files+=("$place")
  done
}

# _job_state number: names, sizes and times of log and results of a job; fails if one is not there.
_job_state() {
  local results result place
  stat -L -c '%s %.9Y' -- "${jobs_log//JOB/$1}" || return 1
  _set_results "$1"
  for result in "${results[@]}"; do
    _set_place "$result" || return 1
    echo "${result##*/}:"
    find -L "$place" -type f -printf '%P %s %T@\n' | LC_ALL=C sort
  done
}

# is_kept file: whether a result that the mark of already_done told of is still what it was.
is_kept() { [[ -e $1 && $'\n'$kept_results$'\n' == *$'\n'"$(_describe "$1")"$'\n'* ]]; }

# _job_is_whole number: whether a job has its log and its results, as it left them.
_job_is_whole() {
  local results result line state=$kept/whole.$1
  [ -e "${jobs_log//JOB/$1}" ] || return 1
  if [ -e "$state" ] && ! _is_outdated "$state"; then
    cmp -s "$state" <(_job_state "$1")
    return
  fi
  # Neither in this call nor in one that is not told to do the stage again.
  rm -f "$state"
  [ -n "$kept_results" ] && is_of_mark "${jobs_log//JOB/$1}" || return 1
  _set_results "$1"
  for result in "${results[@]}"; do [ -e "$result" ] || return 1; done
  while IFS= read -r line; do
    [[ $'\n'$kept_results$'\n' == *$'\n'"$line"$'\n'* ]] || return 1
  done < <(_describe "${results[@]}")
  # All files of a directory are still there.
  for result in "${results[@]}"; do
    [ ! -d "$result" ] || [ "$(_describe "$result" | wc -l)" = "$(grep -c -F "$(_place "$result")/" <<<"$kept_results")" ] ||
      return 1
  done
  # What an earlier call that was stopped has begun to take.
  for result in "${results[@]}"; do rm -rf "${kept:?}/${result##*/}"; done
  write_file "$state" _job_state "$1"
}

# _take_earlier number: takes the results of a job that ended well in an earlier call, which was stopped before it
# looked at them.
_take_earlier() {
  local call
  for call in "$kept"-*; do
    if ! _is_outdated "$call/ended.$1" && _take_job "$1" "$call"; then return 0; fi
  done
  return 1
}

# _take_job number call: takes the results of a job from the directory that it wrote them in; fails if it has not ended
# well.
_take_job() {
  local results result file log=${jobs_log//JOB/$1} from=$2
  local made_log=$_logs_dir/${from##*/}/${log##*/}
  _are_there "$from/ended.$1" "$made_log" || return 1
  _set_results "$1"
  for result in "${results[@]}"; do _are_there "$from/${result##*/}" || return 1; done
  rm -f "$kept/whole.$1"
  for result in "${results[@]}"; do
    file=${result##*/}
    rm -rf "${kept:?}/$file" || return 1
    if [[ $file == *.scp ]]; then
      write_file "$kept/$file" _with_final_places "$from/$file" "/${_jobs_dir##*/}/${from##*/}/"
      rm "$from/$file"
    else
      # Its caller has asked whether it fails, so no error stops it by itself.
      mv "$from/$file" "$kept/$file" || return 1
    fi
  done
  _show_log "$made_log" "$log" || return 1
  write_file "$kept/whole.$1" _job_state "$1"
}

# _show_log made log: gives a log its usual name. Not every disk has hard links.
_show_log() {
  rm -f "$2"
  ln "$1" "$2" 2>/dev/null || cp -p "$1" "$2"
}

# _with_final_places script part: a script file with the places that its archives get, which are now in a directory
# whose name ends in this part.
_with_final_places() {
  part=$2 place=$_results_dir/ LC_ALL=C awk '
    at = index($0, ENVIRON["part"]) { $0 = $1 " " ENVIRON["place"] substr($0, at + length(ENVIRON["part"])) }
    { print }' <"$1"
}

# place_jobs: gives the results of all jobs their names, and removes those of an earlier call of more jobs.
place_jobs() {
  local results result job target
  clear_places
  for job in $(seq "$num_jobs"); do
    _set_results "$job"
    for result in "${results[@]}"; do
      _set_target "$result"
      [ ! -e "$kept/${result##*/}" ] || mv -f "$kept/${result##*/}" "$target"
    done
  done
  remove_further_jobs
}

# _set_target result: sets target to where a result is written: on another disk, where Kaldi's utils/create_data_link.pl
# has made a link to storage/<n>/. Other links may be to results of somebody else, and are replaced.
_set_target() {
  target=$1
  [ -L "$1" ] || return 0
  [[ $(readlink -- "$1") != storage/* ]] || target=$(dirname "$1")/$(readlink -- "$1")
}

# clear_places: removes what the results of jobs are about to replace. If the step is stopped in the middle something is
# missing, and no result stands beside one of other options.
clear_places() {
  local results result job target
  for job in $(seq "$num_jobs"); do
    _set_results "$job"
    for result in "${results[@]}"; do
      _set_target "$result"
      [ ! -e "$kept/${result##*/}" ] || rm -rf "$step_mark" "$target"
    done
  done
}

# remove_further_jobs: removes results and logs of an earlier call of more jobs.
remove_further_jobs() {
  local result
  for result in "${_job_results[@]}" "$jobs_log"; do _remove_further "$result"; done
}

# _remove_further name: removes the files of this name, with JOB in place of the number, that are of further jobs.
_remove_further() {
  local file number
  [[ $1 == *JOB* ]] || return 0
  for file in "${1%%JOB*}"[0-9]*"${1#*JOB}"; do
    number=${file#"${1%%JOB*}"}
    number=${number%"${1#*JOB}"}
    [[ ! $number =~ ^[1-9][0-9]{0,8}$ ]] || [ "$number" -le "$num_jobs" ] || rm -rf "$file"
  done
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
  # The program writes under the names of the results, which are not those of the mark any more.
  [ -z "${step_mark:-}" ] || rm -f "$step_mark"
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

# run_job_or_die [--gpu n] [--num-threads n] log word...: runs one job, and tells what it warned of and dropped. Stops
# with the reason if it failed.
run_job_or_die() {
  local log=$1 place=1
  while [[ $log == --* ]]; do place=$((place + 2)) && log=${!place}; done
  run_job "$@" || job_failed "$log"
  tell_losses "$log"
}

# _are_there file...: whether all of these files are there.
_are_there() {
  local file
  for file in "$@"; do [ -e "$file" ] || return 1; done
}

# _wait_for file...: where the runner says that all is well, gives a disk on the network time to show the files.
_wait_for() {
  local end=$((SECONDS + DKT_DISK_WAIT)) file
  while [ "$runner_status" = 0 ] && ! _are_there "$@" && [ "$SECONDS" -lt "$end" ]; do
    sleep 0.3
    for file in "${@:1:2}"; do ls "$(dirname "$file")" >/dev/null; done
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
  local options=() words results ranges job range log file failed=() files=() usual_log
  while [[ $1 == --* ]]; do options+=("$1" "$2") && shift 2; done
  [ ${#pending[@]} -gt 0 ] || return 0
  # shellcheck disable=SC2034 # for call_runner
  usual_log=$1
  log=$made_logs/${1##*/}
  for job in "${pending[@]}"; do
    file=${1//JOB/$job}
    # While it runs it is to be seen in its usual place.
    rm -rf "$file"
    ln -s "${_logs_dir##*/}/${made##*/}/${file##*/}" "$file" 2>/dev/null || true
    files+=("$made/ended.$job" "${log//JOB/$job}")
  done
  _set_words "$made/ended.JOB" "${@:2}"
  _set_ranges
  _run_ranges
  _wait_for "${files[@]}"
  for job in "${pending[@]}"; do
    file=${1//JOB/$job}
    rm -f "$file"
    [ ! -e "${log//JOB/$job}" ] || _show_log "${log//JOB/$job}" "$file"
    _take_job "$job" "$made" || failed+=("$job")
  done
  _drop_remains ${failed[@]+"${failed[@]}"}
  [ ${#failed[@]} = 0 ] || jobs_failed "$1" "${failed[@]}"
  [ "$runner_status" = 0 ] || die "${cmd%% *} failed, though all jobs went well (what it said is above): call the step again"
}

# _drop_remains number...: removes what failed jobs have written, as the disk may be full of it.
_drop_remains() {
  local job results result
  for job in "$@"; do
    _set_results "$job"
    for result in "${results[@]}"; do rm -rf "${made:?}/${result##*/}"; done
  done
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
