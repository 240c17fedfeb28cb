#!/usr/bin/env bash
# Tells all that is wrong with a data directory and its alignments, as Kaldi's utils/validate_data_dir.sh and more;
# fails if they are not fit to train on.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/checks.sh"
set -euo pipefail

stage=0
cmd=run.pl
no_feats=false
no_text=false
no_wav=false
no_spk_sort=false
non_print=false
strict=false
cmvn=
read_feats=
frame_shift=
nj=
max_oov=
allow_implausible=
train_config=
recipe=
transform_dir=
ivectors=
max_dropped=0.05
log_dir=
help_message="Usage: steps/check_data.sh [options] <data-dir> [<lang-dir> [<ali-dir>...]]
 e.g.: steps/check_data.sh data/train data/lang exp/tri3_ali
With several alignments the first is that of the data; the others, or the directories of models, must be of its pdfs.
options:
  --stage <n>          up to 0: check, 1: only show what was found (0)
  --cmd <cmd>          how to run the job (run.pl)
  --max-dropped <share>  share of utterances that may be of no use (0.05)
  --no-feats, --no-text, --no-wav <bool>   these need not be there (false)
  --no-spk-sort, --non-print <bool>   let pass what is not sorted by speaker, or cannot be printed (false)
  --cmvn <how>         optional or required: whether missing statistics are an error (required)
  --read-feats <bool>  read all features, look for NaN (true)
  --strict <bool>      warnings are errors (false)
  --frame-shift <s>    seconds (the file frame_shift of the data, or 0.01)
  --max-oov <share>    share of words that may be outside the lexicon (0.1)
  --allow-implausible <bool>   alignments that cannot be right are a warning, not an error (false)
of the training to come:
  --train-config <yaml>, --recipe <dnn|lstm>   configuration of a network (dnn)
  --transform-dir <dir>, --ivectors <source>   transforms and i-vectors
  --nj <n>             jobs of a GMM
Logs, and lists of all names of which a few are told:
  --log-dir <dir>      (<data-dir>/log; none are kept if that cannot be written in)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# -ge 1 ] || usage
data=$1
lang=${2:-}
check_runner "${log_dir:-$data/log}"
keeps_logs=true
if [ -z "$log_dir" ]; then
  log_dir=$data/log
  if [ "$stage" -le 0 ] && ! { mkdir -p "$log_dir" 2>/dev/null && can_write "$log_dir"; }; then
    keeps_logs=false
    log_dir=$(mktemp -d --tmpdir dkt_check.XXXXXX)
    at_exit rm -rf "$log_dir"
    echo "$script_name: $data cannot be written in: logs and lists of names are not kept (--log-dir says where they go)"
  fi
fi
logs=("$log_dir/check.1.log")
require_files "$data/utt2spk" ${lang:+"$lang/phones.txt"}
options=(--max-dropped="$max_dropped" ${lang:+--lang="$lang"})
for name in no_feats no_text no_wav no_spk_sort non_print strict; do
  ! "${!name}" || options+=("--${name//_/-}")
done
set_given cmvn read_feats frame_shift nj max_oov allow_implausible train_config recipe transform_dir ivectors
options+=(${given[@]+"${given[@]}"})
# Two alignments to a run; further ones are compared with the first.
for number in $(seq 2 $(($# - 3))); do logs+=("$log_dir/check.$number.log"); done

# say_findings log: shows what was found; lists of names that are not kept are not told of.
say_findings() {
  if "$keeps_logs"; then show_findings "$1"; else show_findings "$1" | sed 's/FILE with --list=FILE/a file with --log-dir/'; fi
}

# check_failed log: shows what was found, and stops with the reason.
check_failed() {
  local reason='' job_program='dkt check'
  say_findings "$1" >&2
  if "$keeps_logs" || [ ! -e "$1" ]; then job_failed "$1"; fi
  _set_reason "$1"
  [ -n "$reason" ] || cat "$1" >&2
  die "${reason:-the check failed, its log is above}"
}

# No mark: what the lists point to may change while they do not.
if [ "$stage" -le 0 ]; then
  make_dir "$log_dir"
  # The data are only read.
  hold_directory "$log_dir"
  for number in $(seq ${#logs[@]}); do
    alignments=(${3+"$3"})
    [ $# -lt $((number + 3)) ] || alignments+=("${@:number + 3:1}")
    list=()
    ! "$keeps_logs" || list=(--list="${logs[number - 1]%.log}.list")
    run_job "${logs[number - 1]}" dkt check "${options[@]}" ${list[@]+"${list[@]}"} "$data" \
      ${alignments[@]+"${alignments[@]}"} || check_failed "${logs[number - 1]}"
  done
fi
require_files "${logs[@]}"
for log in "${logs[@]}"; do say_findings "$log"; done
if "$keeps_logs"; then told=", log in ${logs[*]}"; else told=; fi
echo "$script_name: $data is fit to train on$told"
