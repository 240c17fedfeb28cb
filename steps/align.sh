#!/usr/bin/env bash
# Aligns a data directory by a network, as Kaldi's steps/nnet/align.sh, or, where the model directory holds none, by
# the GMM on features that are made for it already (those of make_fmllr_feats.sh).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
beam=10
retry_beam=40
oov_policy=map
use_gpu=no
max_loss=0.05
transform_dir=
ivectors=
help_message="Usage: steps/align.sh [options] <data-dir> <lang-dir> <model-dir> <ali-dir>
 e.g.: steps/align.sh --nj 4 data/train data/lang exp/dnn exp/dnn_ali
 or:   steps/align.sh --nj 4 data_fmllr/train data/lang exp/mono exp/mono_fmllr_ali
options (names and defaults of Kaldi's script):
  --stage <n>          up to 0: align, 1: only see that the alignments are there; aligning is one program (0)
  --nj <n>             number of processes and of ali.JOB.gz (4)
  --cmd <cmd>          how to run the job (run.pl)
  --beam <x>           beam of the search (10)
  --retry-beam <x>     beam of a second try (40)
  --oov-policy <p>     map words outside the lexicon to oov.txt's, or error (map)
  --use-gpu <how>      yes, no or optional (no)
  --max-loss <share>   share of utterances that may fail (0.05)
  --transform-dir <dir>  fMLLR transforms (trans.JOB), if the network was trained with them
  --ivectors <source>    i-vectors, if it was: a directory of ivector_online.scp, or an rspecifier"
. parse_options.sh

[ $# = 4 ] || usage
data=$1
lang=$2
srcdir=$3
dir=$4
log=$dir/log/align.log

if [ "$stage" -le 0 ]; then
  require_files "$data/feats.scp" "$data/text" "$data/utt2spk" "$lang/phones.txt" "$lang/L.fst" \
    "$srcdir/final.mdl" "$srcdir/tree"
  mkdir -p "$dir/log"
  # Paths stand in single quotes, as a shell of dkt align reads this once more.
  if [ -f "$srcdir/final.pt" ]; then
    require_files "$srcdir/ali_train_pdf.counts"
    loglikes="dkt forward --no-softmax=true --class-frame-counts=$(shell_quote "$srcdir/ali_train_pdf.counts") \
      --use-gpu=$use_gpu --num-threads=1 --max-loss=1 $(shell_quote "$srcdir/final.pt") $(shell_quote "$data")"
    [ -z "$transform_dir" ] || loglikes+=" --transform-dir=$(shell_quote "$transform_dir")"
    [ -z "$ivectors" ] || loglikes+=" --ivectors=$(shell_quote "$ivectors")"
  else
    loglikes="dkt gmm-compute-likes --max-loss=1 $(shell_quote "$srcdir/final.mdl") \
      $(shell_quote "scp:$data/feats.scp")"
  fi
  # shellcheck disable=SC2086
  $cmd "$log" \
    dkt align --nj="$nj" --beam="$beam" --retry-beam="$retry_beam" --oov-policy="$oov_policy" \
    --max-loss="$max_loss" --loglikes=ark:"$loglikes ark:- |" "$data" "$lang" "$srcdir" "$dir" || job_failed "$log"
  tell_losses "$log"
fi
require_files "$dir/ali.1.gz" "$dir/num_jobs" "$dir/final.mdl"
echo "$script_name: alignments of $data in $dir, log in $log"
