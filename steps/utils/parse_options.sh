#!/usr/bin/env bash
# Command-line options of shell scripts, as Kaldi's utils/parse_options.sh reads them. To be sourced:
#
#   nj=4; skip_scoring=false      # every option is a variable that has its default already
#   . parse_options.sh            # takes --nj 8 --skip-scoring true off the front of "$@"
#
# "--option-name value" sets option_name. An option whose default is true or false takes nothing else. The
# file after --config is sourced first, so options on the command line win over it. --help prints
# $help_message. Options end at the first argument that does not begin with "--". A list of pairs in $renamed_options,
# such as "old_name=option_name", tells options that are taken by an earlier name, too.

_po_die() {
  echo "${script_name:-$0}: error: $* ('$0 --help' tells the options)" >&2
  exit 1
}

# Sets _po_name to the variable of the option $1; stops if there is none, or no value for it ($2: how many
# arguments are left).
_po_check() {
  case "$1" in
    --*=*) _po_die "options are of the form --name value, not --name=value: got '$1'" ;;
  esac
  _po_name=${1#--}
  _po_current "${_po_name//-/_}"
  if ! [[ $_po_name =~ ^[A-Za-z][A-Za-z0-9_]*$ && -n ${!_po_name+x} ]]; then
    _po_die "invalid option '$1'"
  fi
  if [ "$2" -lt 2 ]; then
    _po_die "option '$1' needs a value"
  fi
}

# _po_current name: sets _po_name to the name that an option of the script has now.
_po_current() {
  local pair now
  _po_name=$1
  for pair in ${renamed_options:-}; do
    now=${pair#*=}
    if [ "${pair%%=*}" = "$1" ] && [ -n "${!now+x}" ]; then _po_name=$now; fi
  done
}

# Sets _po_earlier to the earlier names of options of the script, and forgets what they hold.
_po_forget_earlier() {
  local pair
  _po_earlier=()
  for pair in ${renamed_options:-}; do
    _po_current "${pair%%=*}"
    if [ "$_po_name" != "${pair%%=*}" ]; then _po_earlier+=("${pair%%=*}"); fi
  done
  unset -v ${_po_earlier[@]+"${_po_earlier[@]}"}
}

# Sets the options that a --config file has set by earlier names.
_po_take_earlier() {
  local earlier
  for earlier in ${_po_earlier[@]+"${_po_earlier[@]}"}; do
    _po_current "$earlier"
    if [ -n "${!earlier+x}" ]; then printf -v "$_po_name" %s "${!earlier}"; fi
  done
}

_po_help() {
  if [ -n "${help_message:-}" ]; then printf '%b\n' "$help_message" >&2; else echo "No help found." >&2; fi
  exit 0
}

# Sets _po_configs to the --config files. Other options are not checked yet: a file may declare them.
_po_find_configs() {
  _po_configs=()
  while [[ $# -ge 2 && $1 == --* && $1 != --help ]]; do
    if [ "$1" = --config ]; then _po_configs+=("$2"); fi
    shift 2
  done
}

config=${config:-}
_po_find_configs "$@"
for _po_config in ${_po_configs[@]+"${_po_configs[@]}"}; do
  if [ ! -r "$_po_config" ]; then _po_die "cannot read the --config file '$_po_config'"; fi
  # With a slash in its name the file is not looked for on PATH.
  case "$_po_config" in */*) ;; *) _po_config=./$_po_config ;; esac
  _po_forget_earlier
  # shellcheck source=/dev/null
  . "$_po_config"
  _po_take_earlier
done

while [[ ${1:-} == --* || ${1:-} == -h ]]; do
  case "$1" in --help | -h) _po_help ;; esac
  _po_check "$1" $#
  case "${!_po_name}" in
    true | false)
      case "$2" in
        true | false) ;;
        *) _po_die "option '$1' is true or false, not '$2'" ;;
      esac
      ;;
  esac
  printf -v "$_po_name" %s "$2"
  shift 2
done

# A variable of the recipe that was never set often ends up here.
if [ -n "${cmd+x}" ] && [ -z "$cmd" ]; then _po_die "--cmd is empty"; fi

unset -f _po_die _po_check _po_current _po_forget_earlier _po_take_earlier _po_help _po_find_configs
unset -v _po_name _po_config _po_configs _po_earlier
