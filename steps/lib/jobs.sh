#!/usr/bin/env bash
# What the steps do about their jobs: the parts of the data, what a job needs, and the files of earlier ones; sourced by
# common.sh.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# back_up dir file...: moves what an earlier run left in a directory to its .backup, as Kaldi does: a run that fails
# must not leave lists of what it has overwritten.
back_up() {
  local dir=$1 file
  for file in "${@:2}"; do
    [ -e "$dir/$file" ] || continue
    make_dir "$dir/.backup"
    mv -f "$dir/$file" "$dir/.backup/$file"
    echo "$script_name: moved $dir/$file of an earlier run to $dir/.backup"
  done
}

# check_number name [most]: stops unless this option is a number above 0, at most this (999999999).
check_number() {
  local most=${2:-999999999}
  [[ ${!1} =~ ^[1-9][0-9]{0,8}$ ]] && [ "${!1}" -le "$most" ] ||
    die "--${1//_/-} is '${!1}', expected a number above 0${2:+, at most $most}"
}

# read_num_jobs dir name: sets nj to what the file num_jobs of a directory holds. Stops if that is not a number of jobs, or the
# file or directory of a job, its name with JOB in place of the number, is not there.
read_num_jobs() {
  local text job again="make '$1' again with the step that made it"
  text=$(head -c 100 "$1/num_jobs" | tr '\0' '?')
  [[ $text =~ ^[[:space:]]*([1-9][0-9]{0,8})[[:space:]]*$ ]] ||
    die "the file '$1/num_jobs' holds '${text//$'\n'/\\n}', expected one number above 0: $again"
  nj=${BASH_REMATCH[1]}
  # One by one: nothing is made of a number that there are no files for.
  for ((job = 1; job <= nj; job++)); do
    [ -e "$1/${2//JOB/$job}" ] || die "no '$1/${2//JOB/$job}', though num_jobs is $nj: $again"
  done
  [ ! -e "$1/${2//JOB/$job}" ] ||
    echo "$script_name: warning: $1/${2//JOB/$job} is left out, as num_jobs is $nj" >&2
}

# set_job_files name...: sets the array job_files, these names with the number of each of the nj jobs of a step in place
# of JOB.
set_job_files() {
  local job name
  check_number nj 10000
  job_files=()
  for job in $(seq "$nj"); do
    for name in "$@"; do job_files+=("${name//JOB/$job}"); done
  done
}

# gather_jobs file name: joins the lists that the nj jobs of a step have written, their names with the number in place of
# JOB, in one sorted file.
gather_jobs() {
  local job parts=()
  for job in $(seq "$nj"); do parts+=("${2//JOB/$job}"); done
  require_files "${parts[@]}"
  write_file "$1" sort_files "${parts[@]}"
}

# _num_speakers data: how many speakers a data directory has.
_num_speakers() { awk '!seen[$2]++ { n++ } END { print n + 0 }' "$1/utt2spk"; }

# make_split data nj dir: prints the directory that holds the nj parts of a data directory, which it makes if
# need be, in dir if the data directory cannot be written in; to be called as
# sdata=$(make_split "$data" "$nj" "$dir") || exit 1. With fewer speakers than jobs a
# speaker's utterances are shared out (stored CMVN statistics stay right: each part names its speakers).
# dkt's own splitter serves Kaldi recipes too: Kaldi's needs a link to utils in the working directory, and
# both make the same parts.
make_split() {
  local data=$1 nj=$2 dir=${3:-$1}
  local per_utt=()
  check_number nj 10000
  require_files "$data/utt2spk"
  if [ "$(_num_speakers "$data")" -lt "$nj" ]; then
    per_utt=(--per-utt)
    [ -d "$data/split${nj}utt" ] ||
      echo "$script_name: $data has fewer speakers than the $nj jobs: split by utterance" >&2
  fi
  "$DKT_ROOT/steps/utils/split_data.sh" ${per_utt[@]+"${per_utt[@]}"} --otherwise "$dir" "$data" "$nj" ||
    die "cannot split $data into $nj parts (the reason is above)"
}

# set_resources use-gpu [num-threads]: sets the array resources, what a job needs in the words that run.pl, queue.pl and
# slurm.pl have in common; it goes before the other arguments of $cmd. Threads that are used as they pay (auto) are
# not asked for.
set_resources() {
  resources=()
  [ "$1" != yes ] || resources+=(--gpu 1)
  [ -z "${2:-}" ] || [ "$2" = auto ] || resources+=(--num-threads "$2")
}

# What steps with these options tell of them.
# shellcheck disable=SC2034 # for the steps
speaker_inputs_help="  --transform-dir <dir>  fMLLR transforms (trans.JOB), if the model was trained with them
  --ivectors <source>    i-vectors, if it was: a directory of ivector_online.scp, or an rspecifier"

# set_speaker_inputs [suffix]: sets the array side, what --transform-dir and --ivectors of a step say to a command of dkt;
# with the suffix _dev, those of the dev data.
set_speaker_inputs() {
  local name value
  side=()
  for name in transform_dir ivectors; do
    value=$name${1:-}
    [ -z "${!value:-}" ] || side+=("--${name//_/-}=${!value}")
  done
}

# set_given name...: sets the array given, what those of these options of a step that are not empty say to a command of
# dkt.
set_given() {
  local name
  given=()
  for name in "$@"; do
    [ -z "${!name}" ] || given+=("--${name//_/-}=${!name}")
  done
}
