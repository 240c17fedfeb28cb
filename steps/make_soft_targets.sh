#!/usr/bin/env bash
# Keeps the posteriors of a teacher as soft targets, for students to be trained on.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/networks.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
top_k=
ensemble=
temperatures="1 2 5"
nnet3_output=
frame_subsampling_factor=
use_gpu=no
max_dropped=0.05
transform_dir=
ivectors=
help_message="Usage: steps/make_soft_targets.sh [options] <data-dir> <teacher-dir> <targets-dir>
 e.g.: steps/make_soft_targets.sh --nj 4 data/train exp/dnn exp/dnn/soft_train
options:
  --stage <n>            0: run the teacher, 1: only join what the jobs wrote (0)
  --nj <n>               number of jobs (4)
  --cmd <cmd>            how to run them (run.pl)
  --top-k <n>            posteriors kept of each frame, or all: for logit matching and any temperature
                         (20, or all where there are fewer pdfs)
  --temperatures <list>  where the mass of those not kept is computed (1 2 5)
  --ensemble <list>      directories of further teachers: the mean of all posteriors is kept (none)
  --nnet3-output <name>  of a teacher of nnet3: its output, output-xent of a chain model (output)
  --frame-subsampling-factor <n>
                         of a teacher of nnet3: every how many frames it is computed; what it gives is repeated
                         (what the file of this name in its directory says, else 1)
$network_help"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
data=$1
srcdir=$2
dir=$3
# The mark tells what is kept, not who chose it.
options=(${top_k:+--top-k="$top_k"} ${ensemble:+--ensemble="$ensemble"}
  ${nnet3_output:+--nnet3-output="$nnet3_output"}
  ${frame_subsampling_factor:+--frame-subsampling-factor="$frame_subsampling_factor"})
top_k=${top_k:-20}
logdir=$dir/log
check_runner "$logdir"

teachers=()
inputs=()
# Only they have these options: marks of others stay as they are.
noted=
for name in "$srcdir" $ensemble; do
  network=$(network_of "$name")
  teachers+=("$network")
  [ "$network" != "$name/final.pt" ] || continue
  noted=" nnet3_output frame_subsampling_factor"
  inputs+=("$name"/{cmvn_opts,online_cmvn,global_cmvn.stats,frame_subsampling_factor})
done
teacher=${teachers[0]}
require_network "${teachers[@]}"
depends_on "nj top_k temperatures max_dropped ivectors$noted" "$data"/*.scp "$data/utt2spk" "${teachers[@]}" \
  "$transform_dir" "$ivectors" ${inputs[@]+"${inputs[@]}"}
set_job_files "$dir"/soft.JOB.{ark,scp}
set_judged_logs "$logdir/make_soft_targets.JOB.log"
if [ "$stage" -le 0 ] &&
  already_done "$dir/.make_soft_targets.done" "$dir"/{soft.scp,header.yaml} "${job_files[@]}"; then exit 0; fi
refuse_other_kinds "$dir" targets
hold_directory "$dir"
make_dir "$logdir"

if [ "$stage" -le 0 ]; then
  # Without the script, which errors about damage say to remove, or with another header, nothing is kept: sizes and
  # times do not tell which archive is damaged.
  if ! [ -e "$dir/soft.scp" ] || ! is_kept "$dir/header.yaml"; then kept_results=; fi
  # Each job may lose what it must; the limit is on their sum.
  options+=(--num-jobs="$nj" --temperatures="$temperatures" --num-threads=1 --max-dropped=1
    --steal-lock="$steal_lock")
  begin_network_jobs "$dir" "$logdir/make_soft_targets.JOB.log" "$dir"/soft.JOB.{ark,scp}
  # It tells the size before anything is written.
  dkt make-soft-targets --job=begin --use-gpu=no "${options[@]}" "$teacher" "$data" "$made"
  run_jobs ${resources[@]+"${resources[@]}"} "$logdir/make_soft_targets.JOB.log" \
    dkt make-soft-targets --job=JOB --use-gpu="$use_gpu" "${options[@]}" ${side[@]+"${side[@]}"} \
    "$teacher" "$sdata/JOB" "$made"
  verdict
  # Until they are joined they are not whole.
  rm -f "$dir/soft.scp"
  # The header does not stand beside targets that it is not of.
  clear_places
  mv -f "$made/header.yaml" "$dir/header.yaml"
  place_jobs
fi

# What a student without alignments needs of its teacher.
for name in final.mdl tree phones.txt ali_train_pdf.counts; do
  [ ! -e "$srcdir/$name" ] || copy_file "$srcdir/$name" "$dir/$name"
done
dkt make-soft-targets --job=end --steal-lock="$steal_lock" "$teacher" "$data" "$dir"
[ "$stage" -ge 1 ] || mark_done
echo "$script_name: soft targets of $(wc -l <"$dir/soft.scp") utterances in $dir, logs in $logdir"
