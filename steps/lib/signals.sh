#!/usr/bin/env bash
# Makes a script end with all that it has started when it is stopped (SIGTERM, SIGHUP of a closed terminal, SIGINT): a
# shell does not hear of a signal before the program that it waits for has ended, or dies and leaves its jobs behind. To
# be sourced before anything else is done, by recipes themselves, by steps and local scripts through common.sh. The
# script begins anew under steps/utils/guard.py, which takes its place.

# Until the guard is there: a shell that waits for a program forgets a Ctrl-C that the program does not die of.
_their_trap=$(trap -p INT)
[ -n "$_their_trap" ] || trap 'trap - INT; kill -INT $$' INT

# _is_guarded: whether there is nothing to do: the script runs under its guard; a shell, or the script of somebody else,
# sources us, perhaps in the middle.
_is_guarded() {
  local root
  [ "${DKT_GUARDED_SCRIPT:-}" != "$$" ] && [ "${BASH_SOURCE[-1]}" = "$0" ] && [ -f "$0" ] || return 0
  root=$(CDPATH='' cd -P "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  [[ $(CDPATH='' cd -P "$(dirname "$0")" && pwd) != "$root"/* ]]
}

# _set_guard_python: sets _guard_python to a Python that can run the guard. The environment of dkt may not be there yet,
# and the first one of the system be old; fails if there is none.
_set_guard_python() {
  for _guard_python in python3 "$(dirname "${BASH_SOURCE[0]}")/../../.venv/bin/python3" python3.{13,12,11}; do
    ! "$_guard_python" -IS -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null || return 0
  done
  return 1
}

if ! _is_guarded && _set_guard_python; then
  case $- in
    *x*) set -- "$BASH" -x "$0" "$@" ;;
    *) set -- "$BASH" "$0" "$@" ;;
  esac
  exec "$_guard_python" -IS "$(dirname "${BASH_SOURCE[0]}")/../utils/guard.py" --script "${script_name:-${0##*/}}" "$@"
fi
[ -n "$_their_trap" ] || trap - INT
unset -f _is_guarded _set_guard_python
unset _guard_python _their_trap
