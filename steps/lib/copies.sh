#!/usr/bin/env bash
# What the steps have in common that write copies of the recordings of a data directory; sourced by common.sh.
# shellcheck disable=SC2154 # variables of the step and of common.sh
# shellcheck disable=SC2034 # for the step

# The options of all of them that the copies depend on.
readonly copy_variables="utt_prefix utt_suffix modify_spk_id include_original"

# set_copy_options: sets the arrays copy_options, what the program is told of them, and copy_inputs, the files that it
# reads.
set_copy_options() {
  case $modify_spk_id in
    "" | true | false) ;;
    *) die "--modify-spk-id is '$modify_spk_id', expected true or false" ;;
  esac
  copy_options=(--utt-prefix="$utt_prefix" --utt-suffix="$utt_suffix" ${modify_spk_id:+--modify-spk-id="$modify_spk_id"}
    --include-original="$include_original" --max-dropped="$max_dropped" --steal-lock="$steal_lock")
  copy_inputs=("$data"/{wav.scp,utt2spk,text,segments,spk2gender,spk2warp,vad.scp}
    "$data"/utt2{uniq,lang,dur,num_frames,warp})
}

# tell_copies dir log: stops unless the directory is there; tells its size, and what was clipped.
tell_copies() {
  require_files "$1/wav.scp" "$1/utt2spk"
  [ ! -e "$2" ] || sed -n "s|^INFO ([^)]*) \([1-9][0-9]* samples\{0,1\} clipped, .*\)|$script_name: \1|p" "$2"
  echo "$script_name: $(wc -l <"$1/utt2spk") utterances in $1, log in $2"
}
