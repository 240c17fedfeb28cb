#!/usr/bin/env bash
# Resumable stages of a recipe; sourced. The recipe sets exp (where the marks go), stage, stop_stage and
# stage_options (a text of all options that the results depend on), and writes
#
#   if begin_stage 3 "what it does" conf/that_it_reads...; then
#     commands
#     end_stage
#   fi
# shellcheck disable=SC2154 # variables of the recipe

stages_started=$(date +%s)

# die "message": common.sh, which comes later, has the same.
declare -F die >/dev/null || die() {
  echo "${0##*/}: error: $*" >&2
  exit 1
}

# The options of the recipe have been read.
. "$(dirname "${BASH_SOURCE[0]}")/../steps/values.sh"
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

# begin_stage [--leaf] n title [file...]: whether stage n is to run. It is not when it was done with the same options
# and files, and its results are what it left. A stage that runs makes those after it run too, unless it is a leaf,
# whose results none of them reads, or mends results, which come out as they were. After --stage n all do.
begin_stage() {
  local leaf=false number title
  [ "$1" != --leaf ] || { leaf=true && shift; }
  number=$1 title=$2
  shift 2
  [ "$number" -le "$stop_stage" ] || return 1
  if [ -n "$stage" ]; then
    [ "$number" -ge "$stage" ] || return 1
    [ "$number" -ne "$stage" ] || _remove_marks "$number"
  fi
  mkdir -p "$exp"
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

# set_aside dir: moves a directory into .backup beside it, under the first number that is free.
set_aside() {
  local backup n=1
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
