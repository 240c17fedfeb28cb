#!/usr/bin/env bash
# How the steps call a job runner, run.pl or what --cmd says in its place; sourced by common.sh.
#
# The runners of Kaldi join the words of a command to a text that a shell reads again: a word without white space goes
# into it bare, one with some in double quotes, or in single quotes if it holds double ones. Those of queues also copy
# the text into a here-document, where a shell runs what single quotes would protect. And the word JOB becomes the
# number of the job, or, in queues, a variable that holds it. So a word goes to them bare or with harmless blanks, or
# else as $'\044\050', which no shell reads as anything but what it stands for.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# The operators of the shell in a command of call_runner.
readonly PIPE=$'\1|' AND=$'\1&&' THEN=$'\1;' INTO=$'\1>' OR=$'\1||' OPEN=$'\1{' CLOSE=$'\1}'
# The exit statuses of the programs of the last pipe.
readonly STATUSES=$'\1${PIPESTATUS[*]}'

# Letters, digits, and signs that mean nothing to a shell, wherever they stand, and bytes of other letters.
readonly _PLAIN=$'A-Za-z0-9_./=,:@%+\x80-\xff'

# _escape text: sets escaped to the text as a word of bash without white space or anything else that is not plain.
_escape() {
  local LC_ALL=C text=$1 plain='^[A-Za-z0-9_./=,:@%+-]$' i character code
  escaped="\$'"
  for ((i = 0; i < ${#text}; i++)); do
    character=${text:i:1}
    if [[ $character =~ $plain ]]; then
      escaped+=$character
    else
      printf -v code '\\%03o' "'$character"
      escaped+=$code
    fi
  done
  escaped+="'"
}

# _quote_word word: sets quoted to the word as a runner needs it.
_quote_word() {
  local LC_ALL=C word=$1 part escaped
  local bare="^[$_PLAIN-]+\$" blanks="^[]$_PLAIN|<>()&;*?'#~^{}[ -]+\$"
  case $word in
    "$PIPE" | "$AND" | "$THEN" | "$INTO" | "$OR" | "$OPEN" | "$CLOSE" | "$STATUSES")
      quoted=${word#?}
      return
      ;;
  esac
  quoted=$word
  if [[ $word =~ $bare || -z $word || ($word == *" "* && $word =~ $blanks) ]]; then return; fi
  quoted=
  # The number of the job is a variable in queues.
  while [[ $word == *JOB* ]]; do
    part=${word%%JOB*}
    word=${word#"$part"JOB}
    _escape "$part"
    quoted+=${escaped}JOB
  done
  _escape "$word"
  quoted+=$escaped
}

# set_runner: sets the array runner, the words of --cmd.
set_runner() {
  # shellcheck disable=SC2154
  IFS=$' \t\n' read -r -d '' -a runner <<<"$cmd" || true
  { [ ${#runner[@]} -gt 0 ] && command -v "${runner[0]}" >/dev/null; } ||
    die "--cmd is '$cmd', but there is no program '${runner[0]-}'"
}

# check_runner logs: stops, before anything runs, if the job runner cannot do with the name of its logs or their
# directory. Kaldi's let a shell read it; those of queues also the name of the working directory.
check_runner() {
  local runner place odd="[^$_PLAIN#~^-]" LC_ALL=C
  set_runner
  [ ! "$(command -v "${runner[0]}")" -ef "$DKT_ROOT/steps/utils/run.pl" ] || return 0
  for place in "$1" "$PWD"; do
    [[ $place =~ $odd ]] || continue
    [ "$place" = "$1" ] || [ "${runner[0]##*/}" != run.pl ] || continue
    die "${runner[0]##*/} cannot do with '$place', the name of $(
      if [ "$place" = "$1" ]; then echo "its logs"; else echo "the working directory"; fi
    ), as a shell reads it: use letters, digits and - _ . alone, or dkt's own run.pl (KALDI_ROOT not set)"
  done
}

# call_runner [--gpu n] [--num-threads n] [JOB=1:n] log word...: runs a command, or an array of jobs, by --cmd. Every
# word reaches its program as it is, whatever it holds, with the number of the job in place of JOB; $PIPE, $AND and so
# on are the shell's.
call_runner() {
  local runner word quoted options=() job=()
  set_runner
  while true; do
    case $1 in
      --*) options+=("$1" "$2") && shift 2 ;;
      JOB=*) options+=("$1") && shift ;;
      *) break ;;
    esac
  done
  for word in "${@:2}"; do
    _quote_word "$word"
    job+=("$quoted")
  done
  local told=${usual_log:-$1}
  echo "$script_name: running, log in ${told//JOB/*}"
  # Kaldi's run.pl, when it is stopped, leaves its jobs. Other runners may have given them to a queue.
  local kind=(--queue)
  [[ " ${runner[*]} " != *[/\ ]run.pl\ * ]] || kind=()
  "$DKT_PYTHON" -IS "$DKT_ROOT/steps/utils/guard.py" ${kind[@]+"${kind[@]}"} "$script_name" "${runner[@]}" \
    ${options[@]+"${options[@]}"} "$1" "${job[@]}"
}
