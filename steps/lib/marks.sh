#!/usr/bin/env bash
# Marks of what is done: a step that was through with the same options and inputs, and whose results are as it left
# them, is not run again; sourced by common.sh. A step writes
#
#   depends_on "beam nj" "$data/feats.scp"...
#   if [ "$stage" -le 0 ] && ! already_done "$dir/.decode.done" "$dir/lat.1.gz"; then
#     commands
#     mark_done
#   fi
#
# A mark is a text: options, inputs, the line "results:", results. Files stand in it with their places as seen from the
# mark, sizes and times, so that neither another working directory nor a moved experiment makes a difference. Jobs of a
# step have marks of their own, see arrays.sh.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# listed_files script: one line that tells the files of a script file apart from others, by names, sizes and times.
listed_files() {
  {
    LC_ALL=C awk '
      {
        sub(/^[ \t]*[^ \t]+[ \t]+/, "")
        sub(/[ \t\r]+$/, "")
        if (/[|]$/) next # a command
        sub(/\[[^]]*\]$/, "")
        sub(/:[0-9]+$/, "")
        if (!($0 in seen)) { seen[$0]; print }
      }' <"$1" | tr '\n' '\0' | xargs -0 -r stat -L -c '%n %s %.9Y' -- 2>/dev/null || true
  } | cksum
}

# _place file...: places of files as seen from the mark.
_place() {
  printf '%s\0' "$@" | xargs -0 realpath -m --relative-to="$(dirname "$step_mark")" --
}

# _describe path...: place, size and time of each file that is there, and what script files list; a directory stands for
# the files right in it, the hidden ones apart, and one of very many for a checksum of that. An rspecifier of a file counts as that file. The audio of a wav.scp is
# not looked at: few steps read it, and they say so.
_describe() {
  local path found files=() inside
  for path in "$@"; do
    [ -n "$path" ] || continue
    if [[ $path =~ ^([a-z]+,)*(ark|scp)(,[a-z]+)*:(.*)$ ]]; then path=${BASH_REMATCH[4]}; fi
    [[ $path == [A-Za-z0-9_./]* ]] || path=./$path
    if [ -d "$path" ]; then
      inside=()
      while IFS= read -r -d '' found; do inside+=("$found"); done < <(
        find -L "$path" -maxdepth 1 -type f ! -name '.*' -print0 | LC_ALL=C sort -z
      )
      if [ ${#inside[@]} -gt 1000 ]; then
        echo "$(_place "$path"): $(
          find -L "$path" -maxdepth 1 -type f ! -name '.*' -printf '%f %s %T@\n' | LC_ALL=C sort | cksum
        )"
        continue
      fi
      files+=(${inside[@]+"${inside[@]}"})
    elif [ -f "$path" ]; then
      files+=("$path")
    fi
  done
  [ ${#files[@]} -gt 0 ] || return 0
  paste -d ' ' <(_place "${files[@]}") <(printf '%s\0' "${files[@]}" | xargs -0 stat -L -c '%s %.9Y' --)
  for path in "${files[@]}"; do
    case $path in
      */wav.scp) ;;
      *.scp) echo "${path##*/}: $(listed_files "$path")" ;;
    esac
  done
}

# depends_on "option..." input...: what the results of a step depend on: options, by the names of their variables, and
# files and directories, empty names apart. How the jobs are run (--cmd, --use-gpu) does not belong there.
depends_on() {
  local name
  _step_files=("${@:2}")
  _step_options=$(for name in $1; do echo "$name=${!name}"; done)
}

# note_inputs: takes down what depends_on was told, as it is now. already_done does it; again only where something has
# been decided since.
note_inputs() {
  step_inputs=$(
    printf '%s\n' "$_step_options"
    _describe "${_step_files[@]}"
  )
}

# _limits: the options that say how much may be lost. They are of the verdict on what was made, and change nothing of it.
readonly _limits="max_dropped max_oov allow_implausible"

# _with_current_names: copies lines of a mark; options have the names of now in place of earlier ones.
_with_current_names() {
  local pair edits=()
  for pair in $renamed_options; do edits+=(-e "s/^${pair%%=*}=/${pair#*=}=/"); done
  sed "${edits[@]}"
}

# without_limits: the same of those that are not of the limits.
without_limits() { _with_current_names | grep -v -E "^(${_limits// /|})=" || true; }

# _mark_text: the mark of the step, with the results as they are now.
_mark_text() {
  printf '%s\nresults:\n' "$step_inputs"
  _describe "${_step_results[@]}"
}

# _is_outdated mark: whether it is of before a recipe was told to do its stage again (--stage): not later than the file
# that local/stages.sh has made then.
_is_outdated() { [ -n "${DKT_REDO_SINCE:-}" ] && [ ! "$1" -nt "$DKT_REDO_SINCE" ]; }

# _models_are_whole: whether the models among the results are as they were written; says so if not.
_models_are_whole() {
  local file
  for file in "${_step_results[@]}"; do
    [[ $file != *.pt ]] || "$DKT_PYTHON" -I "$DKT_ROOT/steps/utils/is_whole.py" "$file" || return 1
  done
}

# _mark_limit name: prints the value of a limit in the mark, the loosest where it is not told.
_mark_limit() {
  local value
  value=$(_with_current_names <"$step_mark" | sed -n "/^results:\$/q; s/^$1=//p")
  if [ "$1" = allow_implausible ]; then echo "${value:-true}"; else echo "${value:-1}"; fi
}

# _is_judged: whether what the mark is about was judged by limits that are as strict as those of this call.
_is_judged() {
  local name
  for name in $_limits; do
    [[ $'\n'$step_inputs == *$'\n'"$name="* ]] || continue
    if [ "$name" = allow_implausible ]; then
      [ "${!name:-false}" = true ] || [ "$(_mark_limit "$name")" != true ] || return 1
    else
      awk -v this="${!name:-0}" -v that="$(_mark_limit "$name")" 'BEGIN { exit !(this >= that) }' || return 1
    fi
  done
}

# is_of_mark log: whether a log is there and of the results that the mark tells of: a call that failed has left those
# results as they were, and logs of its own, which are later.
is_of_mark() { [ -e "$1" ] && [ ! "$(stat -L -c %.9Y -- "$1")" \> "$_mark_time" ]; }

# _judge: judges what is done already by the limits of this call, where they are stricter: the verdict of the step stops
# it. Fails if it cannot, as the step has no judged_logs, or they are not there any more.
_judge() {
  local log results
  if _is_judged; then return 0; fi
  _why_again="it was done with looser limits, and the logs do not tell"
  [ ${#judged_logs[@]} -gt 0 ] || return 1
  for log in "${judged_logs[@]}"; do is_of_mark "$log" || return 1; done
  # Those that are judged: a step of other options may be about to replace them.
  results=$(sed -n '/^results:$/,$p' "$step_mark")
  verdict
  # Next time they are judged by these, if it can be noted.
  ! can_write "$(dirname "$step_mark")" || write_file "$step_mark" printf '%s\n%s\n' "$step_inputs" "$results"
}

# begin_step mark result...: says where the mark of the step is and what its results are, and takes down its inputs.
begin_step() {
  step_mark=$1
  _step_results=("${@:2}")
  _job_dirs=()
  # shellcheck disable=SC2034 # for arrays.sh
  kept_results=
  ! _is_outdated "$step_mark" || rm -f "$step_mark"
  note_inputs
}

# already_done mark result...: whether the mark says that the results are of the same options and inputs, and they are
# still what they were. The mark stays until the results change: it holds for nothing but what it describes.
already_done() {
  begin_step "$@"
  _why_again="a result is missing, or not as it was left"
  [ ! -f "$step_mark" ] || _mark_time=$(stat -L -c %.9Y -- "$step_mark")
  if [ -f "$step_mark" ] && cmp -s <(without_limits <"$step_mark") <(_mark_text | without_limits) &&
    _models_are_whole && _judge; then
    echo "$script_name: done already with the same options and inputs (to do it again, remove $step_mark)"
    return 0
  fi
  if [ -f "$step_mark" ] && cmp -s <(sed '/^results:$/,$d' "$step_mark" | without_limits) <(without_limits <<<"$step_inputs"); then
    # Only some of the results are gone or damaged: jobs whose results are whole need not run again.
    # shellcheck disable=SC2034 # for arrays.sh
    kept_results=$(sed '1,/^results:$/d' "$step_mark")
    echo "$script_name: $_why_again: done again"
  fi
  return 1
}

# forget_done mark: the results are about to be those of other options, as after --stage 1.
forget_done() { rm -f "$1"; }

# mark_done [result...]: the step that already_done was last asked about is through, with these results, if it could not
# name them before.
mark_done() {
  [ $# = 0 ] || _step_results=("$@")
  [ -e "${_step_results[0]}" ] ||
    die "no file '${_step_results[0]}', though all went well: is it on a disk that all machines share?"
  write_file "$step_mark" _mark_text
  remove_dirs ${_job_dirs[@]+"${_job_dirs[@]}"}
}
