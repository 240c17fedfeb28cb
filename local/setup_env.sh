#!/usr/bin/env bash
# Sets up everything on a fresh machine, once: a virtual environment in the checkout with dkt and the
# packages it needs, at the versions of constraints.txt. No root; nothing from the network but PyPI.
#
#   . local/setup_env.sh <extras>     # sets up and enters the environment: for scripts
#   local/setup_env.sh <extras>       # sets up only
#
# <extras>: the extras of setup.py, separated by commas: standalone,report,synthetic. An environment that is
# active already and has dkt with these extras is used as it is.
# DKT_TORCH_INDEX: another index for PyTorch, such as https://download.pytorch.org/whl/cpu, whose build
# without CUDA is ten times smaller than that of PyPI.

_dkt_say() { echo "setup_env.sh: $*" >&2; }

# Whether the active environment has dkt, its command and everything that the extras $1 ask for.
_dkt_active_serves() {
  local env=${VIRTUAL_ENV:-${CONDA_PREFIX:-}} package
  [ -n "$env" ] && [ "$env" != "$DKT_ROOT/.venv" ] && [ -x "$env/bin/dkt" ] || return 1
  package=$(_dkt_locate "$env/bin/python" "$1" 2>/dev/null) || return 1
  [ "$package" = "$DKT_ROOT/dkt" ] ||
    _dkt_say "the active environment runs the dkt of $package, not this checkout's"
}

# Prints where the Python $1 has the package dkt; fails unless all that the extras $2 ask for is there too.
_dkt_locate() {
  "$1" -I - "$2" <<'PYTHON'
import re, sys
from pathlib import Path
from importlib.metadata import distribution
from importlib.util import find_spec
wanted = [f'extra == "{extra}"' for extra in sys.argv[1].split(",")]
for requirement in distribution("dkt").requires or []:
    name, _, marker = requirement.replace("'", '"').partition(";")
    if "extra ==" not in marker or any(extra in marker for extra in wanted):
        distribution(re.match(r"[\w.-]+", name)[0])
print(Path(find_spec("dkt").origin).resolve().parent)
PYTHON
}

# Prints the Python to build the environment with.
_dkt_find_python() {
  local python found=
  for python in python3 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    found=${found:-$python}
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$python"
      return 0
    fi
  done
  if [ -n "$found" ]; then
    _dkt_say "error: $("$found" --version) lacks the module venv (Debian, Ubuntu: apt-get install python3-venv)"
  else
    _dkt_say "error: no Python 3.11 or newer (looked for python3, python3.13, python3.12, python3.11): install one"
  fi
  return 1
}

# The stamp of one extra. It holds the checkout's place, since an environment cannot be moved.
_dkt_stamp() { echo "$DKT_ROOT/.venv/.dkt-$_dkt_hash-$1"; }

# Whether all the extras $1 are set up here.
_dkt_is_done() {
  local extra
  [ -x "$DKT_ROOT/.venv/bin/python" ] && [ ! -e "$DKT_ROOT/.venv/.incomplete" ] || return 1
  for extra in base ${1//,/ }; do
    [ "$(cat "$(_dkt_stamp "$extra")" 2>/dev/null)" = "$DKT_ROOT" ] || return 1
  done
}

# Runs pip. When it fails it has undone what it did; only an interruption may leave half a package.
_dkt_pip() {
  "$DKT_ROOT/.venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" && return 0
  rm -f "$DKT_ROOT/.venv/.incomplete"
  return 1
}

# Installs the extras $1; everything it prints belongs in the log.
_dkt_install() {
  local venv=$DKT_ROOT/.venv python torch extra
  # An environment that was made for another place, or by a Python that is gone, does not run.
  if [ -e "$venv/.incomplete" ] || [ ! -x "$venv/bin/python" ] ||
    [ "$(cat "$venv/.place" 2>/dev/null)" != "$DKT_ROOT" ]; then
    find "$venv" -mindepth 1 -maxdepth 1 ! -name .lock ! -name setup.log -exec rm -rf {} + || return 1
  fi
  touch "$venv/.incomplete" || return 1
  find "$venv" -maxdepth 1 -name '.dkt-*' ! -name ".dkt-$_dkt_hash-*" -exec rm -f {} +
  if [ ! -x "$venv/bin/python" ]; then
    python=$(_dkt_find_python 2>&3) || return 1
    "$python" -m venv "$venv" || return 1
    echo "$DKT_ROOT" >"$venv/.place"
  fi
  cd "$DKT_ROOT" || return 1
  torch=$(grep '^torch==' constraints.txt) || return 1
  if [ -n "${DKT_TORCH_INDEX:-}" ]; then
    # Its dependencies come from PyPI below: that index need not have the versions of constraints.txt.
    _dkt_pip install --no-deps --index-url "$DKT_TORCH_INDEX" "$torch" || return 1
  fi
  _dkt_pip install -c constraints.txt "$torch" -e ".${1:+[$1]}" || return 1
  for extra in base ${1//,/ }; do echo "$DKT_ROOT" >"$(_dkt_stamp "$extra")"; done
  rm "$venv/.incomplete"
}

# Installs the extras $1 unless another process has just done so; two at once would spoil each other's work.
_dkt_install_locked() {
  local venv=$DKT_ROOT/.venv
  mkdir -p "$venv" || return 1
  (
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if command -v flock >/dev/null && ! flock -n 9; then
      _dkt_say "waiting for another set-up of $venv"
      flock 9
    fi
    _dkt_is_done "$1" || _dkt_install "$1" 3>&2 >"$venv/setup.log" 2>&1
  ) 9>"$venv/.lock"
}

_dkt_setup_env() {
  local extras=${1:-} extra
  DKT_ROOT=$(CDPATH='' cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || return 1
  export DKT_ROOT
  for extra in ${extras//,/ }; do
    if ! grep -q "\"$extra\": " "$DKT_ROOT/setup.py"; then
      _dkt_say "error: setup.py has no extra '$extra'. Usage: . local/setup_env.sh standalone,report"
      return 1
    fi
  done
  if _dkt_active_serves "$extras"; then return 0; fi
  local _dkt_hash
  _dkt_hash=$(cat "$DKT_ROOT/setup.py" "$DKT_ROOT/constraints.txt" | cksum | tr ' ' -)
  if ! _dkt_is_done "$extras"; then
    _dkt_say "installing dkt${extras:+[$extras]} in $DKT_ROOT/.venv, once; the log is .venv/setup.log"
    if [ -z "${DKT_TORCH_INDEX:-}" ]; then
      _dkt_say "(no GPU? DKT_TORCH_INDEX=https://download.pytorch.org/whl/cpu gets a far smaller PyTorch)"
    fi
    if ! _dkt_install_locked "$extras"; then
      _dkt_say "error: set-up failed, log is in $DKT_ROOT/.venv/setup.log"
      tail -n 15 "$DKT_ROOT/.venv/setup.log" >&2
      return 1
    fi
  fi
  export VIRTUAL_ENV=$DKT_ROOT/.venv
  unset PYTHONHOME
  case "$PATH" in
    "$VIRTUAL_ENV/bin":*) ;;
    *) export PATH=$VIRTUAL_ENV/bin:$PATH ;;
  esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  _dkt_setup_env "$@" || exit 1
  echo "To enter the environment: . '${VIRTUAL_ENV:-$CONDA_PREFIX}/bin/activate'"
else
  _dkt_setup_env "$@" || return 1
  unset -f _dkt_say _dkt_active_serves _dkt_locate _dkt_find_python _dkt_stamp _dkt_is_done _dkt_pip \
    _dkt_install _dkt_install_locked _dkt_setup_env
fi
