#!/usr/bin/env bash
# Gives copies of utterances the alignments of their originals, as Kaldi's script of this name: copies with noise, or at
# another volume, whose times are unchanged.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
prefixes=
include_original=true
max_dropped=0.05
help_message="Usage: steps/copy_ali_dir.sh [options] <data-dir> <src-ali-dir> <ali-dir>
 e.g.: steps/copy_ali_dir.sh --prefixes \"noise babble\" data/train_aug exp/tri3_ali exp/tri3_ali_aug
options (names of Kaldi's script):
  --stage <n>          up to 0: copy, 1: only see that the alignments are there (0)
  --nj <n>             number of ali.JOB.gz (4)
  --cmd <cmd>          how to run the job (run.pl)
  --prefixes <list>    prefixes of the names of copies, without their dash; if not given, utt2uniq tells which are copies
  --include-original <bool>   utterances of <data-dir> that are aligned themselves come along (true)
  --max-dropped <share>  share of utterances whose original has no alignment, or one of another length (0.05)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
data=$1
srcdir=$2
dir=$3
logdir=$dir/log
log=$logdir/copy_ali_dir.log
check_runner "$logdir"

if [ "$stage" -le 0 ]; then
  require_files "$data/utt2spk" "$srcdir/num_jobs" "$srcdir/final.mdl" "$srcdir/ali.1.gz"
  depends_on "nj prefixes include_original max_dropped" "$data"/{utt2spk,utt2uniq,utt2num_frames,feats.scp} \
    "$srcdir"/{ali.*.gz,num_jobs,final.{mdl,mat},tree,phones.txt,{cmvn,delta,splice}_opts,frame_subsampling_factor}
  set_job_files "$dir/ali.JOB.gz"
  set_judged_logs "$log"
fi
if [ "$stage" -le 0 ] && ! already_done "$dir/.copy_ali_dir.done" "${job_files[@]}" "$dir"/{num_jobs,final.mdl,tree}; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$log" dkt copy-ali-dir --prefixes="$prefixes" --include-original="$include_original" --nj="$nj" \
    --max-dropped="$max_dropped" --steal-lock="$steal_lock" "$data" "$srcdir" "$dir"
  mark_done
fi
require_files "$dir/ali.1.gz" "$dir/num_jobs" "$dir/final.mdl"
echo "$script_name: alignments of $data in $dir, log in $log"
