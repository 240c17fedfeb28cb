#!/usr/bin/env bash
# Makes the features of one data directory; called by make_fbank.sh and make_mfcc.sh.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

kind=fbank
nj=4
cmd=run.pl
fbank_config=conf/fbank.conf
mfcc_config=conf/mfcc.conf
compress=true
max_loss=0
help_message="Usage: steps/make_fbank.sh [options] <data-dir> [<log-dir> [<feature-dir>]]
 e.g.: steps/make_fbank.sh --nj 4 --fbank-config conf/fbank.conf data/train
options:
  --nj <n>               number of jobs (4)
  --cmd <cmd>            how to run them (run.pl)
  --fbank-config <file>  Kaldi's configuration of filterbanks (conf/fbank.conf)
  --mfcc-config <file>   and of MFCC (conf/mfcc.conf)
  --compress <bool>      compress as Kaldi does (true)
  --max-loss <share>     share of unreadable recordings allowed (0)"
. parse_options.sh

if [ $# -lt 1 ] || [ $# -gt 3 ]; then
  echo "$help_message" >&2
  exit 1
fi
data=$1
log=${2:-$data/log}
dir=${3:-$data/data}
config_variable=${kind}_config
config=${!config_variable}
name=$(basename "$data")

require_files "$data/wav.scp" "$data/utt2spk" "$config"
mkdir -p "$log" "$dir"
dir=$(cd "$dir" && pwd)
sdata=$(make_split "$data" "$nj") || exit 1
segments=()
[ -f "$data/segments" ] && segments=(--segments="$sdata/JOB/segments")

# shellcheck disable=SC2086 # $cmd may carry options
$cmd JOB=1:"$nj" "$log/make_${kind}_$name.JOB.log" \
  dkt "compute-$kind-feats" --config="$config" --compress="$compress" --max-loss="$max_loss" \
  ${segments[@]+"${segments[@]}"} --write-num-frames="$dir/utt2num_frames_$name.JOB" \
  scp:"$sdata/JOB/wav.scp" ark,scp:"$dir/raw_${kind}_$name.JOB.ark,$dir/raw_${kind}_$name.JOB.scp"

for file in feats.scp utt2num_frames; do
  for job in $(seq "$nj"); do
    case $file in
      feats.scp) cat "$dir/raw_${kind}_$name.$job.scp" ;;
      *) cat "$dir/${file}_$name.$job" ;;
    esac
  done | LC_ALL=C sort >"$data/.$file.partial"
  mv "$data/.$file.partial" "$data/$file"
done
rm -f "$dir"/utt2num_frames_"$name".*
echo "$0: $kind features of $(wc -l <"$data/feats.scp") utterances in $data/feats.scp, logs in $log"
