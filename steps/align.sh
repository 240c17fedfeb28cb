#!/usr/bin/env bash
# Aligns a data directory by a network, as Kaldi's steps/nnet/align.sh, or, where the model directory holds none, by
# the GMM on features that are made for it already (those of make_fmllr_feats.sh). dkt's own aligner does it, whether
# Kaldi is there or not.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/decoding.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
beam=10
retry_beam=40
oov_policy=map
use_gpu=no
max_dropped=0.05
max_oov=0.1
allow_implausible=false
transform_dir=
ivectors=
help_message="Usage: steps/align.sh [options] <data-dir> <lang-dir> <model-dir> <ali-dir>
 e.g.: steps/align.sh --nj 4 data/train data/lang exp/dnn exp/dnn_ali
 or:   steps/align.sh --nj 4 data_fmllr/train data/lang exp/mono exp/mono_fmllr_ali
The aligner is dkt's, also where KALDI_ROOT is set; the files are Kaldi's.
options (names and defaults of Kaldi's script):
  --stage <n>          up to 0: align, 1: only see that the alignments are there (0)
  --nj <n>             number of jobs, and of ali.JOB.gz (4)
  --cmd <cmd>          how to run them (run.pl)
  --beam <x>           beam of the alignment (10)
  --retry-beam <x>     beam of a second try (40)
  --oov-policy <p>     map words outside the lexicon to oov.txt's, or error (map)
  --use-gpu <how>      yes, no or optional (no)
  --max-dropped <share>  share of utterances that may fail, all jobs together (0.05)
  --max-oov <share>    share of words that may be outside the lexicon (0.1)
  --allow-implausible <bool>  an alignment that cannot be right is a warning, not an error (false)
$speaker_inputs_help"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 4 ] || usage
data=$1
lang=$2
srcdir=$3
dir=$4
logdir=$dir/log
check_runner "$logdir"
parts=$dir/.parts

# assemble: makes an alignment directory of what the jobs wrote, in $parts.
assemble() {
  local name job names=(final.mdl tree)
  rm -rf "$parts"
  make_dir "$parts"
  copy_file "$lang/phones.txt" "$parts/phones.txt"
  # Kaldi's script leaves no feature options either: those of a network are nothing for a GMM to be trained on this.
  is_network || names+=({cmvn,delta,splice}_opts final.{mat,occs} full.mat)
  for name in "${names[@]}"; do
    [ ! -e "$srcdir/$name" ] || copy_file "$srcdir/$name" "$parts/$name"
  done
  set_made_files "$dir/ali.JOB.gz"
  for job in $(seq "$nj"); do ln -s "$(realpath "${made_files[job - 1]}")" "$parts/ali.$job.gz"; done
  write_file "$parts/num_jobs" echo "$nj"
}

# verdict: tells what was dropped and what the alignments of all jobs together look like; stops at too many dropped, and
# if they cannot be right.
verdict() {
  local retried analyze=$logdir/analyze_alignments.log
  check_losses "$max_dropped" "${judged_logs[@]}"
  retried=$(awk '/^INFO .*[)] retried [0-9]+ utterances/ { sum += $5 } END { print sum + 0 }' "${judged_logs[@]}")
  dkt analyze-alignments --data="$data" --num-retried="$retried" --max-oov="$max_oov" \
    --allow-implausible="$allow_implausible" "$lang" "$judged_dir" >"$analyze" 2>&1 || job_failed "$analyze"
  tell_alignment "$analyze"
}

# Those of the directory.
model=
nnet=
class_frame_counts=
if [ "$stage" -le 0 ]; then
  require_files "$data/feats.scp" "$data/text" "$data/utt2spk" "$lang/phones.txt" "$lang/L.fst" "$srcdir/tree"
  check_share "$max_dropped"
  set_model
  check_phones "$lang" "$srcdir"
  [ ! "$srcdir" -ef "$dir" ] || die "$dir is the directory of the model: align into one of its own"
  refuse_other_kinds "$dir" alignments "$srcdir/final.mdl"
  is_network || [ -z "$transform_dir$ivectors" ] ||
    die "--transform-dir and --ivectors are of a network, and $srcdir holds none: a GMM aligns features that are made"
  hold_directory "$dir"
  depends_on "nj beam retry_beam oov_policy max_dropped max_oov allow_implausible ivectors" "$data"/*.scp \
    "$data"/{utt2spk,text} \
    "$lang"/{L.fst,phones.txt,words.txt,oov.txt} "$model" "$srcdir/tree" "$nnet" "$class_frame_counts" \
    "$transform_dir" "$ivectors"
  set_job_files "$dir/ali.JOB.gz"
  set_judged_logs "$logdir/align.JOB.log"
  judged_dir=$dir
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.align.done" "${job_files[@]}" "$dir/num_jobs" "$dir/final.mdl" "$dir/tree"; then
  make_dir "$logdir"
  begin_jobs "$nj" "$logdir/align.JOB.log" "$dir/ali.JOB.gz"
  sdata=$(make_split "$data" "$nj" "$dir") || exit 1
  set_loglikes
  # The features that a GMM aligns are made for it already.
  if is_network; then loglikes+=("$sdata/JOB"); else loglikes+=("scp:$sdata/JOB/feats.scp"); fi
  set_resources "$use_gpu"
  # Each job may lose what it must; the limit is on their sum.
  run_jobs ${resources[@]+"${resources[@]}"} "$logdir/align.JOB.log" set -o pipefail "$THEN" \
    "${loglikes[@]}" ark:- "$PIPE" \
    dkt align --nj=1 --beam="$beam" --retry-beam="$retry_beam" --oov-policy="$oov_policy" --max-dropped=1 \
    --max-oov=1 --allow-implausible --loglikes=ark:- "$sdata/JOB" "$lang" "$srcdir" "$made/JOB" "$AND" \
    mv "$made/JOB/ali.1.gz" "$made/ali.JOB.gz"
  assemble
  judged_dir=$parts
  verdict
  # Without num_jobs the directory is not one of alignments: it goes first and comes last.
  rm -f "$dir"/{num_jobs,.checksums,{cmvn,delta,splice}_opts,final.{mdl,mat,occs},full.mat,tree}
  rm "$parts"/ali.*.gz
  place_jobs
  mv "$parts/num_jobs" "$dir/.num_jobs"
  mv "$parts"/* "$dir"
  rm -r "$parts"
  mv "$dir/.num_jobs" "$dir/num_jobs"
  mark_done
fi
require_files "$dir/ali.1.gz" "$dir/num_jobs" "$dir/final.mdl"
echo "$script_name: alignments of $data in $dir, logs in $logdir"
