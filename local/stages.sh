#!/usr/bin/env bash
# Resumable stages of a recipe; sourced. The recipe sets exp (where the marks go), stage, stop_stage and
# stage_options (a text of all options that the results depend on), and writes
#
#   if begin_stage 3 "what it does" conf/that_it_reads...; then
#     commands
#     end_stage
#   fi

stages_started=$(date +%s)

# _remove_marks n: forgets that stage n and those after it are done.
_remove_marks() {
  local mark
  for mark in "$exp"/.done.*; do
    [ ! -e "$mark" ] || [ "${mark##*.}" -lt "$1" ] || rm -f "$mark"
  done
}

# stages_elapsed: seconds since the recipe began.
stages_elapsed() { echo $(($(date +%s) - stages_started)); }

# begin_stage n title [file...]: whether stage n is to run. It is not when it was done with the same options
# and files. A stage that runs makes those after it run too, and so does --stage n.
begin_stage() {
  local number=$1 title=$2
  shift 2
  [ "$number" -le "$stop_stage" ] || return 1
  if [ -n "$stage" ]; then
    [ "$number" -ge "$stage" ] || return 1
    [ "$number" -ne "$stage" ] || _remove_marks "$number"
  fi
  mkdir -p "$exp"
  stage_key=$(cat - "$@" <<<"$stage_options" | cksum)
  if [ "$(cat "$exp/.done.$number" 2>/dev/null)" = "$stage_key" ]; then
    echo "=== stage $number: $title: done already (--stage $number does it again)"
    return 1
  fi
  _remove_marks "$number"
  stage_number=$number
  echo "=== stage $number: $title [$(stages_elapsed) s]"
}

# end_stage: marks the stage that began last as done.
end_stage() { echo "$stage_key" >"$exp/.done.$stage_number"; }
