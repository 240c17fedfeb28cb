#!/usr/bin/env bash
# Resumable stages of a recipe; sourced. The recipe sets exp (where the marks go), stage, stop_stage, steal_lock and
# stage_options (a text of all options that the results depend on), and writes
#
#   if begin_stage 3 "what it does" conf/that_it_reads...; then
#     commands
#     end_stage
#   fi
# shellcheck disable=SC2154 # variables of the recipe

stages_started=$(date +%s)
script_name=${script_name:-${0##*/}}
export DKT_STEAL_LOCK=${steal_lock:-false}
# Whether this call has begun a stage, and, after --stage, the stages that are to be done again.
_has_begun=false

# die "message": common.sh, which comes later, has the same.
declare -F die >/dev/null || die() {
  echo "${0##*/}: error: $*" >&2
  exit 1
}

# The options of the recipe have been read.
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/values.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/files.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/locks.sh"
check_numbers

# make_absolute variable...: paths that the user gave are of the directory the recipe is called in, which has to be
# the working directory still; empty variables stay empty.
make_absolute() {
  local name
  for name in "$@"; do
    case ${!name} in
      "" | /*) ;;
      *) printf -v "$name" %s "$PWD/${!name}" ;;
    esac
  done
}

# require_options kind variable...: stops if one of these options names something that is not a file, or not a directory, as
# kind (f or d) says; empty ones pass.
require_options() {
  local name what="no such file"
  [ "$1" = f ] || what="no such directory"
  for name in "${@:2}"; do
    [ -z "${!name}" ] || test "-$1" "${!name}" || die "--${name//_/-} is '${!name}', but there is $what"
  done
}

# require_values variable...: stops if one of these options is empty, or holds anything that is not above 0.
require_values() {
  local name value
  for name in "$@"; do
    [[ ${!name} == *[![:space:]]* ]] || die "--${name//_/-} is empty"
    for value in ${!name}; do
      [[ $value != -* && $value =~ ^[^eE]*[1-9] ]] || die "--${name//_/-} is '${!name}', expected numbers above 0"
    done
  done
}

# check_decoding variable...: stops unless the options of a decoding, and these, hold numbers to decode with.
check_decoding() {
  require_values beam max_active lmwts "$@"
  [[ $word_ins_penalties == *[0-9]* ]] || die "--word-ins-penalties is empty"
}

# check_recipe path...: what every recipe looks at before anything runs: stages, job runners, and the paths that jobs
# write in.
check_recipe() {
  local name program path
  [ "${stage:-$stop_stage}" -le "$stop_stage" ] ||
    die "--stage $stage is after stage $stop_stage, the last (--stop-stage): nothing would be done"
  require_values nj
  for name in train_cmd decode_cmd; do
    read -r program _ <<<"${!name}"
    command -v "$program" >/dev/null || die "cmd.sh: $name is '${!name}', but there is no program '$program'"
  done
  for name in "$@"; do _set_path "$name"; done
}

# _remove_marks n [kind]: forgets what was done, begun or mended (or .done only, say) in stage n and those after it.
_remove_marks() {
  local mark number
  for mark in "$exp/${2:-.done}".* "$exp/${2:-.begun}".* "$exp/${2:-.mended}".*; do
    [ -e "$mark" ] || continue
    number=${mark##*/}
    number=${number#.*.} # .done.6, .begun.6.dnn_seed777
    [ "${number%%.*}" -lt "$1" ] || rm -f "$mark"
  done
}

# _stage_key file...: what the results of a stage depend on, in short.
_stage_key() { cat - "$@" <<<"$stage_options" | cksum; }

# _checksums file...: those of the files that are there, with their names.
_checksums() {
  local file
  for file in "$@"; do
    [ ! -f "$file" ] || cksum "$file"
  done
}

# _results_hold mark: whether the files that a mark tells of are still what they were.
_results_hold() {
  local files=() line
  while IFS= read -r line; do files+=("${line#* * }"); done < <(tail -n +2 "$1")
  [ "$(tail -n +2 "$1")" = "$(_checksums ${files[@]+"${files[@]}"})" ]
}

# _key_of mark: the key that a mark was made with; nothing without a mark.
_key_of() { head -n 1 "$1" 2>/dev/null || true; }

# stages_elapsed: seconds since the recipe began.
stages_elapsed() { echo $(($(date +%s) - stages_started)); }

# _begin_recipe: before the first stage: nobody else works in this experiment, and what --stage is about is forgotten, also
# by the next call if this one is stopped.
_begin_recipe() {
  _has_begun=true
  hold_directory "$exp"
  [ -n "$stage" ] || return 0
  _remove_marks "$stage"
  touch "$exp/.redo.$stage"
}

# _set_redo n: sets DKT_REDO_SINCE for the steps of stage n: their marks count if they are later than the last --stage
# of this stage or of one before it.
_set_redo() {
  local file last=
  for file in "$exp"/.redo.*; do
    [ -e "$file" ] && [ "${file##*.redo.}" -le "$1" ] || continue
    [ -n "$last" ] && [ ! "$file" -nt "$last" ] || last=$file
  done
  export DKT_REDO_SINCE=${last:+$(realpath "$last")}
}

# begin_stage [--leaf] n title [file...]: whether stage n is to run. It is not when it was done with the same options
# and files, and its results are what it left. A stage that runs makes those after it run too, unless it is a leaf,
# whose results none of them reads, or mends results, which come out as they were. After --stage n all do.
begin_stage() {
  local leaf=false number title
  [ "$1" != --leaf ] || { leaf=true && shift; }
  number=$1 title=$2
  shift 2
  [ "$number" -le "$stop_stage" ] && [ "$number" -ge "${stage:-$number}" ] || return 1
  "$_has_begun" || _begin_recipe
  stage_key=$(_stage_key "$@")
  stage_leaf=$leaf
  if [ "$(_key_of "$exp/.done.$number")" = "$stage_key" ]; then
    if _results_hold "$exp/.done.$number"; then
      echo "=== stage $number: $title: done already (--stage $number does it again)"
      return 1
    fi
    echo "=== stage $number: $title: a result is missing, or not as it was left"
    mv -f "$exp/.done.$number" "$exp/.mended.$number"
  fi
  rm -f "$exp/.done.$number"
  if [ "$(_key_of "$exp/.mended.$number")" != "$stage_key" ]; then
    rm -f "$exp/.mended.$number"
    "$leaf" || _remove_marks $((number + 1))
  fi
  stage_number=$number
  _set_redo "$number"
  echo "=== stage $number: $title [$(stages_elapsed) s]"
}

# end_stage [result...]: marks the stage that began last as done, with these files as its results.
end_stage() {
  local mark=$exp/.done.$stage_number mended=$exp/.mended.$stage_number
  {
    echo "$stage_key"
    _checksums "$@"
  } >"$mark.partial"
  if [ -e "$mended" ] && ! cmp -s "$mark.partial" "$mended" && ! "$stage_leaf"; then
    _remove_marks $((stage_number + 1))
  fi
  rm -f "$mended"
  mv -f "$mark.partial" "$mark"
}

# set_aside dir: moves a directory into .backup beside it, under the first number that is free. Stops if somebody is at
# work in it.
set_aside() {
  local backup n=1
  refuse_held "$1"
  backup=$(dirname "$1")/.backup
  mkdir -p "$backup"
  while [ -e "$backup/$(basename "$1").$n" ]; do n=$((n + 1)); done
  mv "$1" "$backup/$(basename "$1").$n"
  echo "$1 is of an earlier run: moved to $backup/$(basename "$1").$n"
}

# claim_dir dir [file...]: for a stage whose program goes on with what lies in its directory. It may if an interrupted
# run of this stage left it, or a finished one, with the same options and files and nothing redone before it. Else
# the directory is moved aside.
claim_dir() {
  local dir=$1 mark key
  shift
  mark=$exp/.begun.$stage_number.$(basename "$dir")
  key=$(_stage_key "$@")
  if [ -e "$dir" ] && [ "$(cat "$mark" 2>/dev/null)" != "$key" ]; then
    set_aside "$dir"
    # What later stages had written into it has gone with it.
    _remove_marks $((stage_number + 1)) .done
  fi
  echo "$key" >"$mark"
}
