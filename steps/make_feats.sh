#!/usr/bin/env bash
# Makes the features of one data directory; called by make_fbank.sh and make_mfcc.sh with the kind of features in
# front of the arguments.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

kind=${1:-}
case $kind in
  fbank | mfcc) shift ;;
  *) die "call steps/make_fbank.sh or steps/make_mfcc.sh" ;;
esac
script_name=steps/make_$kind.sh

stage=0
nj=4
cmd=run.pl
printf -v "${kind}_config" %s "conf/$kind.conf"
compress=true
max_loss=0
help_message="Usage: steps/make_$kind.sh [options] <data-dir> [<log-dir> [<feature-dir>]]
 e.g.: steps/make_$kind.sh --nj 4 --$kind-config conf/$kind.conf data/train
options:
  --stage <n>           0: compute, 1: only gather what the jobs wrote (0)
  --nj <n>              number of jobs (4)
  --cmd <cmd>           how to run them (run.pl)
  --$kind-config <file>  Kaldi's configuration of these features (conf/$kind.conf)
  --compress <bool>     compress as Kaldi does (true)
  --max-loss <share>    share of unreadable recordings allowed, all jobs together (0)"
. parse_options.sh

[ $# -ge 1 ] && [ $# -le 3 ] || usage
data=$1
log=${2:-$data/log}
dir=${3:-$data/data}
config_variable=${kind}_config
config=${!config_variable}
name=$(basename "$data")
logs=$log/make_${kind}_$name

require_files "$data/wav.scp" "$data/utt2spk" "$config"
check_share "$max_loss"
hold_directory "$data"
mkdir -p "$log" "$dir"
dir=$(cd "$dir" && pwd)
sdata=$(make_split "$data" "$nj") || exit 1

if [ "$stage" -le 0 ]; then
  back_up "$data" feats.scp utt2num_frames cmvn.scp
  rm -f "$logs".[0-9]*.log
  segments=()
  [ ! -f "$data/segments" ] || segments=(--segments="$sdata/JOB/segments")
  # Each job may lose what it must; the limit is on their sum.
  # shellcheck disable=SC2086 # $cmd may carry options
  $cmd JOB=1:"$nj" "$logs.JOB.log" \
    dkt "compute-$kind-feats" --config="$config" --compress="$compress" --max-loss=1 \
    ${segments[@]+"${segments[@]}"} --write-num-frames="$dir/utt2num_frames_$name.JOB" \
    scp:"$sdata/JOB/wav.scp" ark,scp:"$dir/raw_${kind}_$name.JOB.ark,$dir/raw_${kind}_$name.JOB.scp" ||
    job_failed "$logs".[0-9]*.log
  check_losses "$max_loss" "$logs".[0-9]*.log
fi

# gather table prefix suffix: joins what the jobs wrote.
gather() {
  local job parts=()
  for job in $(seq "$nj"); do parts+=("$dir/$2$name.$job$3"); done
  require_files "${parts[@]}"
  cat "${parts[@]}" | LC_ALL=C sort >"$data/.$1.partial"
  mv "$data/.$1.partial" "$data/$1"
}

gather utt2num_frames utt2num_frames_ ""
gather feats.scp "raw_${kind}_" .scp
echo "$script_name: $kind features of $(wc -l <"$data/feats.scp") utterances in $data/feats.scp, logs in $log"
