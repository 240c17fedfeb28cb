#!/usr/bin/env bash
# Estimates the priors of a network as its mean posterior on data, as Kaldi's steps/nnet/make_priors.sh: prior_counts in
# the model directory, which decoding and alignment then use in place of ali_train_pdf.counts.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/networks.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
num_utts=10000
seed=777
use_gpu=no
max_dropped=0.05
transform_dir=
ivectors=
help_message="Usage: steps/make_priors.sh [options] <data-dir> <model-dir>
 e.g.: steps/make_priors.sh --nj 4 data/train exp/dnn
options:
  --stage <n>            up to 0: run the network, 1: only see that the priors are there (0)
  --nj <n>               number of jobs (4)
  --cmd <cmd>            how to run them (run.pl)
  --num-utts <n>         at most so many utterances, chosen by chance (10000)
  --seed <n>             which (777)
$network_help"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 2 ] || usage
data=$1
srcdir=$2
logdir=$srcdir/log
check_runner "$logdir"
subset=$srcdir/.prior_data

# sum_vectors file...: the sum of vectors in text form: [ 1 2 3 ]
sum_vectors() {
  awk '
    { for (i = 2; i < NF; i++) sum[i] += $i; size = NF }
    END { printf "["; for (i = 2; i < size; i++) printf " %.7g", sum[i]; print " ]" }' "$@"
}

if [ "$stage" -le 0 ]; then
  require_network
  check_number num_utts
  hold_directory "$srcdir"
  depends_on "num_utts seed max_dropped ivectors" "$data"/*.scp "$data/utt2spk" "$srcdir/final.pt" \
    "$transform_dir" "$ivectors"
  # Those of the jobs that there were: the priors do not depend on their number.
  set_judged_logs "$logdir"/prior_stats.[0-9]*.log
fi
if [ "$stage" -le 0 ] && ! already_done "$srcdir/.make_priors.done" "$srcdir/prior_counts"; then
  set_judged_logs "$logdir/prior_stats.JOB.log"
  make_dir "$logdir"
  rm -rf "$subset"
  if [ "$(wc -l <"$data/utt2spk")" -gt "$num_utts" ]; then
    "$DKT_ROOT/steps/utils/subset_data_dir.sh" --seed "$seed" "$data" "$num_utts" "$subset"
    data=$subset
  fi
  begin_network_jobs "$srcdir" "$logdir/prior_stats.JOB.log" "$srcdir/.prior_counts.JOB"
  # Each job may lose what it must; the limit is on their sum.
  run_jobs ${resources[@]+"${resources[@]}"} "$logdir/prior_stats.JOB.log" set -o pipefail "$THEN" \
    dkt forward --use-gpu="$use_gpu" --num-threads=1 --max-dropped=1 ${side[@]+"${side[@]}"} "$srcdir/final.pt" "$sdata/JOB" \
    ark:- "$PIPE" dkt analyze-counts --posteriors=true --max-dropped=1 ark:- "$made/.prior_counts.JOB"
  verdict
  set_made_files "$srcdir/.prior_counts.JOB"
  write_file "$srcdir/.prior_counts" sum_vectors "${made_files[@]}"
  # If the step had failed the old ones would be in place.
  back_up "$srcdir" prior_counts
  mv "$srcdir/.prior_counts" "$srcdir/prior_counts"
  # An earlier dkt left parts of what it could not end.
  rm -rf "$subset" "$srcdir"/.prior_counts.[0-9]*
  remove_further_jobs
  mark_done
fi
require_files "$srcdir/prior_counts"
echo "$script_name: priors in $srcdir/prior_counts, logs in $logdir"
