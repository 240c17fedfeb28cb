#!/usr/bin/env bash
# Trains a monophone GMM from a flat start, as Kaldi's script of this name.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
num_iters=40
max_iter_inc=30
totgauss=1000
realign_iters="1 2 3 4 5 6 7 8 9 10 12 14 16 18 20 23 26 29 32 35 38"
boost_silence=1.0
power=0.25
cmvn_opts=
delta_opts=
oov_policy=map
seed=0
max_dropped=0.05
max_oov=0.1
allow_implausible=false
help_message="Usage: steps/train_mono.sh [options] <data-dir> <lang-dir> <exp-dir>
 e.g.: steps/train_mono.sh --nj 4 data/train data/lang exp/mono
options (names and defaults of Kaldi's script):
  --stage <n>             up to 0: train, 1: only see that the system is there; training is one program (0)
  --nj <n>                number of processes and of ali.JOB.gz (4)
  --cmd <cmd>             how to run the job (run.pl)
  --num-iters <n>         iterations (40)
  --max-iter-inc <n>      last iteration that adds Gaussians (30)
  --totgauss <n>          Gaussians at the end (1000)
  --realign-iters <list>  iterations that begin with an alignment
  --boost-silence <x>     factor on the likelihoods of silence (1.0)
  --power <x>             exponent of occupancies in mixing up (0.25)
  --cmvn-opts <opts>      options of apply-cmvn
  --delta-opts <opts>     options of add-deltas
  --oov-policy <p>        map words outside the lexicon to oov.txt's, or error (map)
  --seed <n>              of the splitting of Gaussians (0)
  --max-dropped <share>   share of utterances that may fail to align (0.05)
  --max-oov <share>       share of words that may be outside the lexicon (0.1)
  --allow-implausible <bool>   an alignment that cannot be right is a warning, not an error (false)
  --steal-lock <bool>     take <exp-dir> from another process: one of another host that is dead (false)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
data=$1
lang=$2
dir=$3
logdir=$dir/log
log=$logdir/train.log
check_runner "$logdir"

if [ "$stage" -le 0 ]; then
  require_files "$data/feats.scp" "$data/cmvn.scp" "$data/text" "$data/utt2spk" "$lang/phones.txt" "$lang/topo" \
    "$lang/L.fst"
  depends_on "nj num_iters max_iter_inc totgauss realign_iters boost_silence power cmvn_opts delta_opts oov_policy \
    seed max_dropped max_oov allow_implausible" "$data"/*.scp "$data"/{utt2spk,text} "$lang"/{L.fst,topo,phones.txt,words.txt,oov.txt} "$lang/phones"
  set_job_files "$dir/ali.JOB.gz"
  set_judged_logs "$log"
  verdict() { verdict_on_alignment "$dir" "$lang"; }
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.train_mono.done" "$dir"/{final.mdl,final.occs,tree,num_jobs} "${job_files[@]}"; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$log" \
    dkt train-mono --nj="$nj" --num-iters="$num_iters" --max-iter-inc="$max_iter_inc" --totgauss="$totgauss" \
    --realign-iters="$realign_iters" --boost-silence="$boost_silence" --power="$power" \
    --cmvn-opts="$cmvn_opts" --delta-opts="$delta_opts" --oov-policy="$oov_policy" --seed="$seed" \
    --max-dropped="$max_dropped" --max-oov="$max_oov" --allow-implausible="$allow_implausible" \
    --steal-lock="$steal_lock" "$data" "$lang" "$dir"
  tell_alignment "$log"
  mark_done
fi
require_files "$dir/final.mdl" "$dir/tree" "$dir/num_jobs"
echo "$script_name: monophone system in $dir/final.mdl, log in $log"
