#!/usr/bin/env bash
# What every steps/*.sh needs; sourced first:
#   . "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# Sets and exports DKT_ROOT (the checkout) and DKT_UTILS (Kaldi's utils when KALDI_ROOT is set, else dkt's
# own), and puts on PATH what the steps call: run.pl, parse_options.sh and the command dkt. Sets script_name,
# the short name for messages.

script_name=${0%/*}
case ${script_name##*/} in
  steps | local) script_name=${script_name##*/}/${0##*/} ;;
  *) script_name=${0##*/} ;;
esac
. "$(dirname "${BASH_SOURCE[0]}")/signals.sh"

# die "message": stops the script with the message.
die() {
  echo "$script_name: error: $*" >&2
  exit 1
}

# usage: stops the script with its $help_message, after a wrong call.
usage() {
  # shellcheck disable=SC2154 # of the script
  echo "$help_message" >&2
  exit 1
}

# With it cd tells where it went, and $(cd dir && pwd) is two lines.
unset CDPATH
DKT_ROOT=${DKT_ROOT:-$(dirname "${BASH_SOURCE[0]}")/../..}
[ -f "$DKT_ROOT/steps/lib/common.sh" ] || die "DKT_ROOT is '$DKT_ROOT', which is not a checkout of dkt"
DKT_ROOT=$(cd -P "$DKT_ROOT" && pwd)
[[ $DKT_ROOT != *:* ]] || die "DKT_ROOT is '$DKT_ROOT', but PATH cannot hold a name with a colon: move the checkout"

if [ -n "${KALDI_ROOT:-}" ]; then
  [ -d "$KALDI_ROOT/egs/wsj/s5/utils" ] ||
    die "KALDI_ROOT is '$KALDI_ROOT', but it has no egs/wsj/s5/utils: mend it, or unset it to work without Kaldi"
  DKT_UTILS=$(cd -P "$KALDI_ROOT/egs/wsj/s5/utils" && pwd)
else
  DKT_UTILS=$DKT_ROOT/steps/utils
fi
export DKT_ROOT DKT_UTILS

if ! command -v dkt >/dev/null; then
  [ -x "$DKT_ROOT/.venv/bin/dkt" ] ||
    die "the command dkt is not installed: run '. $DKT_ROOT/local/setup_env.sh standalone'," \
      "or 'pip install -e $DKT_ROOT' in an environment of yours"
  PATH=$DKT_ROOT/.venv/bin:$PATH
fi
case "$PATH" in
  "$DKT_UTILS":*) ;;
  *) PATH=$DKT_UTILS:$PATH ;;
esac
export PATH

# _set_python: sets and exports DKT_PYTHON, a Python that can run what there is of dkt besides its command: that of the
# command, or another one. python3 may be an old one of the system.
_set_python() {
  local first='' dkt
  dkt=$(command -v dkt)
  # The script that called this one has found it.
  [ -z "${DKT_PYTHON:-}" ] || [ "${DKT_PYTHON_OF:-}" != "$dkt" ] || return 0
  export DKT_PYTHON_OF=$dkt
  IFS= read -r first <"$dkt" || true
  first=${first#"#!"}
  for DKT_PYTHON in "${first%% *}" "${dkt%/*}/python3" "$DKT_ROOT/.venv/bin/python3" python3 python3.{13,12,11}; do
    export DKT_PYTHON
    ! "$DKT_PYTHON" -IS -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 0
  done
  die "no Python 3.11 or newer, which dkt needs: python3 is '$(python3 --version 2>&1 | tail -n 1)'. Enter the" \
    "environment that dkt is installed in, or run '. $DKT_ROOT/local/setup_env.sh standalone'"
}
_set_python

# _origin file: what makes the file, for the error message.
_origin() {
  case "${1##*/}" in
    utt2spk | text | wav.scp) echo "prepare the data directory first" ;;
    feats.scp) echo "make the features first" ;;
    cmvn.scp) echo "compute the CMVN statistics first" ;;
    ali.*.gz) echo "align the data first" ;;
    final.mdl | final.pt | tree) echo "train (or align) the model of that directory first" ;;
    *.conf) echo "is the path of the configuration right?" ;;
    HCLG.fst) echo "build the graph first (mkgraph)" ;;
    phones.txt | words.txt | L.fst | G.fst) echo "prepare the lang directory first" ;;
    *) echo "has the stage that writes it been run?" ;;
  esac
}

# check_phones lang dir...: stops if a model or an alignment was made with other phones; disambiguation symbols, which
# depend on the lexicon, may differ. As in Kaldi, directories without phones.txt pass.
check_phones() {
  local dir
  for dir in "${@:2}"; do
    [ -f "$1/phones.txt" ] && [ -f "$dir/phones.txt" ] || continue
    cmp -s <(grep -v '^#' "$1/phones.txt") <(grep -v '^#' "$dir/phones.txt") ||
      die "$1/phones.txt and $dir/phones.txt differ: give the lang directory that the alignment was made with"
  done
}

# require_files file...: stops unless every file is there and not empty.
require_files() {
  local file
  for file in "$@"; do
    [ -e "$file" ] || die "no file '$file': $(_origin "$file")"
    [ -d "$file" ] || [ -s "$file" ] || die "the file '$file' is empty: $(_origin "$file")"
  done
}

. "$DKT_ROOT/steps/lib/files.sh"
. "$DKT_ROOT/steps/lib/jobs.sh"
. "$DKT_ROOT/steps/lib/locks.sh"
. "$DKT_ROOT/steps/lib/run_job.sh"
. "$DKT_ROOT/steps/lib/values.sh"
. "$DKT_ROOT/steps/lib/logs.sh"
. "$DKT_ROOT/steps/lib/failures.sh"
. "$DKT_ROOT/steps/lib/marks.sh"
. "$DKT_ROOT/steps/lib/arrays.sh"
. "$DKT_ROOT/steps/lib/copies.sh"
