#!/usr/bin/env bash
# Makes a script end with all that it has started when it is stopped (SIGTERM, SIGHUP of a closed terminal, SIGINT): a
# shell does not hear of a signal before the program that it waits for has ended, or dies and leaves its jobs behind. To
# be sourced before anything else is done, by recipes themselves, by steps and local scripts through common.sh. The
# script begins anew under steps/utils/guard.py, which takes its place.

# _is_guarded: whether there is nothing to do: the script runs under its guard; a shell, or the script of somebody else,
# sources us, perhaps in the middle.
_is_guarded() {
  local root
  [ "${DKT_GUARDED_SCRIPT:-}" != "$$" ] && [ "${BASH_SOURCE[-1]}" = "$0" ] && [ -f "$0" ] || return 0
  root=$(CDPATH='' cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  [[ $(CDPATH='' cd -P "$(dirname "$0")" && pwd) != "$root"/* ]] || ! command -v python3 >/dev/null
}

if ! _is_guarded; then
  case $- in
    *x*) set -- "$BASH" -x "$0" "$@" ;;
    *) set -- "$BASH" "$0" "$@" ;;
  esac
  exec python3 -IS "$(dirname "${BASH_SOURCE[0]}")/utils/guard.py" "${script_name:-${0##*/}}" "$@"
fi
unset -f _is_guarded
