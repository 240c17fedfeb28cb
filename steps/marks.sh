#!/usr/bin/env bash
# Marks of what is done: a step that was through with the same options and inputs is not run again; sourced by
# common.sh. A step writes
#
#   depends_on "beam nj" "$data/feats.scp"...
#   if [ "$stage" -le 0 ] && ! already_done "$dir/.decode.done" "$dir/lat.1.gz"; then
#     commands
#     mark_done
#   fi

# _describe_inputs path...: name, size and time of each file that is there; a directory stands for the files right in
# it, the hidden ones apart. An rspecifier of a file counts as that file.
_describe_inputs() {
  local path
  for path in "$@"; do
    if [[ $path =~ ^([a-z]+,)*(ark|scp)(,[a-z]+)*:(.*)$ ]]; then path=${BASH_REMATCH[4]}; fi
    if [ -d "$path" ]; then
      find -L "$path" -maxdepth 1 -type f ! -name '.*' -exec stat -L -c '%n %s %.9Y' {} + | LC_ALL=C sort
    elif [ -f "$path" ]; then
      stat -L -c '%n %s %.9Y' "$path"
    fi
  done
}

# depends_on "option..." input...: what the results of a step depend on: options, by the names of their variables, and
# files and directories, empty names apart. How the jobs are run (--cmd, --use-gpu) does not belong there.
depends_on() {
  local name
  step_inputs=$(
    for name in $1; do echo "$name=${!name}"; done
    _describe_inputs "${@:2}"
  )
}

# is_whole file: whether it is there and, if it is a model, as it was written; says so if not.
is_whole() {
  [ -e "$1" ] || return 1
  [[ $1 != *.pt ]] || python3 -I "$DKT_ROOT/steps/utils/is_whole.py" "$1"
}

# already_done mark result...: whether the mark says that the results are of the same options and inputs, and they are
# still there. If not the mark goes, as the results are about to change.
already_done() {
  local file same=true
  step_mark=$1
  cmp -s "$step_mark" <(echo "$step_inputs") || same=false
  for file in "${@:2}"; do is_whole "$file" || same=false; done
  if "$same"; then
    echo "$script_name: done already with the same options and inputs (to do it again, remove $2)"
    return 0
  fi
  rm -f "$step_mark"
  return 1
}

# mark_done: the step that already_done was last asked about is through.
mark_done() { echo "$step_inputs" >"$step_mark"; }
