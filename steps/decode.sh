#!/usr/bin/env bash
# Searches a data directory, with a GMM or a network, at one or several language-model weights and word
# insertion penalties. Arguments as of Kaldi's steps/decode.sh: the model lies in the parent of <decode-dir>.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

nj=4
cmd=run.pl
beam=13.0
max_active=7000
min_active=200
lmwts="7 8 9 10 11 12 13 14 15 16 17"
word_ins_penalties="0.0 0.5 1.0"
use_gpu=no
max_loss=0.05
skip_scoring=false
srcdir=
help_message="Usage: steps/decode.sh [options] <graph-dir> <data-dir> <decode-dir>
 e.g.: steps/decode.sh --nj 4 exp/mono/graph data/dev exp/dnn/decode_dev
options:
  --nj <n>                     number of jobs (4)
  --cmd <cmd>                  how to run them (run.pl)
  --beam <x>                   beam of the search (13)
  --max-active <n>             states kept a frame at most (7000)
  --min-active <n>             and at least (200)
  --lmwts <list>               language-model weights; the acoustic scale is 1 / weight
  --word-ins-penalties <list>  costs of a word
  --use-gpu <how>              yes, no or optional (no)
  --max-loss <share>           share of utterances that may fail (0.05)
  --srcdir <dir>               where the model is (the parent of <decode-dir>)
  --skip-scoring <bool>        do not score (false)"
. parse_options.sh

if [ $# != 3 ]; then
  echo "$help_message" >&2
  exit 1
fi
graph=$1
data=$2
dir=$3
srcdir=${srcdir:-$(dirname "$dir")}

require_files "$graph/HCLG.fst" "$graph/words.txt" "$data/feats.scp" "$data/utt2spk" "$srcdir/final.mdl"
mkdir -p "$dir/log" "$dir/scoring"
rm -rf "$dir"/scoring/job.*
sdata=$(make_split "$data" "$nj") || exit 1
echo "$nj" >"$dir/num_jobs"
if [ -f "$srcdir/final.pt" ]; then
  require_files "$srcdir/ali_train_pdf.counts"
  loglikes="dkt forward --no-softmax=true --class-frame-counts=$srcdir/ali_train_pdf.counts --use-gpu=$use_gpu \
    --num-threads=1 $srcdir/final.pt $sdata/JOB ark:- |"
else
  loglikes="dkt gmm-compute-likes $srcdir/final.mdl $sdata/JOB ark:- |"
fi
# shellcheck disable=SC2086
$cmd JOB=1:"$nj" "$dir/log/decode.JOB.log" \
  dkt decode-scan --beam="$beam" --max-active="$max_active" --min-active="$min_active" --lmwts="$lmwts" \
  --word-ins-penalties="$word_ins_penalties" --max-loss="$max_loss" \
  "$srcdir/final.mdl" "$graph" "$graph/words.txt" ark:"$loglikes" "$dir/scoring/job.JOB"
echo "$0: hypotheses of $data in $dir/scoring, logs in $dir/log"
[ "$skip_scoring" = true ] || "$DKT_ROOT/steps/score.sh" "$data" "$graph" "$dir"
