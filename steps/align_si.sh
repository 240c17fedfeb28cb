#!/usr/bin/env bash
# Aligns a data directory by a GMM, as Kaldi's script of this name.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
beam=10
retry_beam=40
boost_silence=1.0
oov_policy=map
max_dropped=0.05
max_oov=0.1
allow_implausible=false
help_message="Usage: steps/align_si.sh [options] <data-dir> <lang-dir> <model-dir> <ali-dir>
 e.g.: steps/align_si.sh --nj 4 data/train data/lang exp/mono exp/mono_ali
options (names and defaults of Kaldi's script):
  --stage <n>          up to 0: align, 1: only see that the alignments are there; aligning is one program (0)
  --nj <n>             number of processes and of ali.JOB.gz (4)
  --cmd <cmd>          how to run the job (run.pl)
  --beam <x>           beam of the alignment (10)
  --retry-beam <x>     beam of a second try (40)
  --boost-silence <x>  factor on the likelihoods of silence (1.0)
  --oov-policy <p>     map words outside the lexicon to oov.txt's, or error (map)
  --max-dropped <share>  share of utterances that may fail (0.05)
  --max-oov <share>    share of words that may be outside the lexicon (0.1)
  --allow-implausible <bool>  an alignment that cannot be right is a warning, not an error (false)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 4 ] || usage
data=$1
lang=$2
srcdir=$3
dir=$4
logdir=$dir/log
log=$logdir/align.log
check_runner "$logdir"

if [ "$stage" -le 0 ]; then
  require_files "$data/feats.scp" "$data/text" "$data/utt2spk" "$lang/phones.txt" "$lang/L.fst" \
    "$srcdir/final.mdl" "$srcdir/tree"
  depends_on "nj beam retry_beam boost_silence oov_policy max_dropped max_oov allow_implausible" "$data"/*.scp \
    "$data"/{utt2spk,text} \
    "$lang"/{L.fst,phones.txt,words.txt,oov.txt} "$lang/phones" "$srcdir"/{final.{mdl,mat},tree,{cmvn,delta,splice}_opts}
  set_job_files "$dir/ali.JOB.gz"
  set_judged_logs "$log"
  verdict() { verdict_on_alignment "$dir" "$lang"; }
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.align_si.done" "${job_files[@]}" "$dir"/{num_jobs,final.mdl,tree}; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$log" \
    dkt align --nj="$nj" --beam="$beam" --retry-beam="$retry_beam" --boost-silence="$boost_silence" \
    --oov-policy="$oov_policy" --max-dropped="$max_dropped" --max-oov="$max_oov" \
    --allow-implausible="$allow_implausible" --steal-lock="$steal_lock" "$data" "$lang" "$srcdir" "$dir"
  tell_alignment "$log"
  mark_done
fi
require_files "$dir/ali.1.gz" "$dir/num_jobs" "$dir/final.mdl"
echo "$script_name: alignments of $data in $dir, log in $log"
