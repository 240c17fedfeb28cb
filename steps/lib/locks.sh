#!/usr/bin/env bash
# One step per directory: whoever writes in it holds it until it ends, and a second one is refused; sourced by common.sh.

# Of every step: whether a directory is taken from another process, one of another host that is dead. A recipe that was
# told so says it to all that it calls.
# shellcheck disable=SC2034 # set by parse_options.sh
steal_lock=${DKT_STEAL_LOCK:-false}

# at_exit command argument...: has a command run when the step ends, also when it is stopped; the last one first.
at_exit() {
  local words
  printf -v words ' %q' "$@"
  _at_exit="${words# }"$'\n'"${_at_exit:-}"
  # A further signal, that of a terminal that closes, comes too late.
  trap 'trap "" TERM HUP INT QUIT; eval "$_at_exit"' EXIT
}

# hold_directory dir: makes it, and stops if another step is at work there, with a line that says which. DKT_HELD_DIRS
# are the directories that this step holds and those that the step that called it does, separated by line ends.
hold_directory() {
  local dir said
  mkdir -p "$1" 2>/dev/null || true
  dir=$(cd "$1" 2>/dev/null && pwd -P) || die "cannot make the directory $1"
  [[ $'\n'${DKT_HELD_DIRS:-}$'\n' != *$'\n'"$dir"$'\n'* ]] || return 0
  # First: it gives back our own lock only, and we may be stopped as soon as there is one.
  # shellcheck disable=SC2154 # script_name is of common.sh
  at_exit _lock_dir --release $$ "$script_name" "$dir"
  said=$(_lock_dir $$ "$script_name" "$1") || die "$said"
  [ -z "$said" ] || echo "$script_name: $said" >&2
  export DKT_HELD_DIRS="${DKT_HELD_DIRS:-}"$'\n'"$dir"
}

# refuse_held dir: stops if anybody is at work in a directory or below it, as it is about to be moved.
refuse_held() {
  local said
  said=$(_lock_dir --look $$ "$script_name" "$1") || die "$said"
}

# _lock_dir [--release|--look] pid name dir: takes, gives back or looks at the lock, and prints what there is to say.
_lock_dir() {
  local options=()
  [ "$steal_lock" != true ] || options=(--steal)
  "${DKT_PYTHON:-python3}" -I "$DKT_ROOT/steps/utils/lock_dir.py" ${options[@]+"${options[@]}"} "$@" 2>&1
}
