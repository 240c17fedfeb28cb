#!/usr/bin/env bash
# Takes the options of a step and refuses, before anything runs, what no step can take; sourced after common.sh and the
# defaults, where Kaldi's scripts source parse_options.sh:
#   . "$DKT_ROOT/steps/lib/options.sh"
# A step whose argument n is a word and no path says so before by word_arguments="n". Kaldi's own parse_options.sh is
# not used, as it has a shell evaluate the values: --nj '$(command)' would run the command.
# shellcheck disable=SC2154 # variables of the step and of common.sh

. "$DKT_ROOT/steps/utils/parse_options.sh"
check_numbers
[ -n "${stage-0}" ] || die "--stage is '', expected a whole number"
for _name in $_paths; do
  _is_option "$_name" || continue
  _set_path "${!_name}"
  printf -v "$_name" %s "$path"
done
_arguments=()
for _argument in "$@"; do
  [ -n "$_argument" ] || die "an argument is empty: is a variable of the script that calls it not set?"
  case " ${word_arguments:-} " in
    *" $((${#_arguments[@]} + 1)) "*) path=$_argument ;;
    *) _set_path "$_argument" ;;
  esac
  _arguments+=("$path")
done
set -- ${_arguments[@]+"${_arguments[@]}"}
unset -v path _name _argument _arguments
