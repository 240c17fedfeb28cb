#!/usr/bin/env bash
# Writes the posteriors of a network (or their logarithms, or logits) as archives that Kaldi reads.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

nj=4
cmd=run.pl
apply_log=false
no_softmax=false
use_gpu=no
help_message="Usage: steps/forward.sh [options] <data-dir> <model-dir> <output-dir>
 e.g.: steps/forward.sh --nj 4 data/test exp/dnn exp/dnn/post_test
options:
  --nj <n>             number of jobs (4)
  --cmd <cmd>          how to run them (run.pl)
  --apply-log <bool>   log-posteriors (false)
  --no-softmax <bool>  logits (false)
  --use-gpu <how>      yes, no or optional (no)"
. parse_options.sh

if [ $# != 3 ]; then
  echo "$help_message" >&2
  exit 1
fi
data=$1
model=$2
dir=$3

require_files "$data/feats.scp" "$data/utt2spk" "$model/final.pt"
mkdir -p "$dir/log"
out=$(cd "$dir" && pwd)
sdata=$(make_split "$data" "$nj") || exit 1
# shellcheck disable=SC2086
$cmd JOB=1:"$nj" "$dir/log/forward.JOB.log" \
  dkt forward --apply-log="$apply_log" --no-softmax="$no_softmax" --use-gpu="$use_gpu" --num-threads=1 \
  "$model/final.pt" "$sdata/JOB" ark,scp:"$out/output.JOB.ark,$out/output.JOB.scp"
for job in $(seq "$nj"); do cat "$dir/output.$job.scp"; done | LC_ALL=C sort >"$dir/.feats.scp.partial"
mv "$dir/.feats.scp.partial" "$dir/feats.scp"
echo "$0: outputs of $(wc -l <"$dir/feats.scp") utterances in $dir/feats.scp, logs in $dir/log"
