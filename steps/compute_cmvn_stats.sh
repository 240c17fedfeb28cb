#!/usr/bin/env bash
# Computes CMVN statistics of every speaker of a data directory, as Kaldi's script of this name.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

cmd=run.pl
help_message="Usage: steps/compute_cmvn_stats.sh [options] <data-dir> [<log-dir> [<cmvn-dir>]]
 e.g.: steps/compute_cmvn_stats.sh data/train
options:
  --cmd <cmd>         how to run the job (run.pl)"
. parse_options.sh

if [ $# -lt 1 ] || [ $# -gt 3 ]; then
  echo "$help_message" >&2
  exit 1
fi
data=$1
log=${2:-$data/log}
dir=${3:-$data/data}
name=$(basename "$data")

require_files "$data/feats.scp" "$data/utt2spk"
mkdir -p "$log" "$dir"
dir=$(cd "$dir" && pwd)
# shellcheck disable=SC2086
$cmd "$log/cmvn_$name.log" dkt compute-cmvn-stats "$data" ark,scp:"$dir/cmvn_$name.ark,$dir/cmvn_$name.scp"
cp "$dir/cmvn_$name.scp" "$data/cmvn.scp"
echo "$0: CMVN statistics of $(wc -l <"$data/cmvn.scp") speakers in $data/cmvn.scp, log in $log/cmvn_$name.log"
