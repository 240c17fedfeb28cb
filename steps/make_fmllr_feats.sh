#!/usr/bin/env bash
# Makes a data directory of features under fMLLR transforms of a GMM, as Kaldi's steps/nnet/make_fmllr_feats.sh:
# after CMVN and deltas, for networks without either. Transforms come from alignments of transcripts, or, without
# --ali-dir, from a first decoding with the GMM.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
nj=4
cmd=run.pl
ali_dir=
beam=13.0
max_active=7000
lmwt=10
fmllr_min_count=500
max_dropped=0.05
help_message="Usage: steps/make_fmllr_feats.sh [options] <data-dir> <graph-dir> <gmm-dir> <target-data-dir>
 e.g.: steps/make_fmllr_feats.sh --ali-dir exp/mono_ali data/train exp/mono/graph exp/mono data_fmllr/train
 or:   steps/make_fmllr_feats.sh data/dev exp/mono/graph exp/mono data_fmllr/dev
options:
  --stage <n>            0: decode, 1: estimate and transform, 2: only gather what the jobs wrote (0)
  --nj <n>               number of jobs, at most that of speakers (4)
  --cmd <cmd>            how to run them (run.pl)
  --ali-dir <dir>        alignments of the data directory; without it a decoding finds them
  --beam, --max-active   of that decoding (13, 7000)
  --lmwt <x>             its LM weight (10)
  --fmllr-min-count <n>  a speaker of fewer frames of speech keeps the features as they are (500)
  --max-dropped <share>  share of utterances that may have no alignment, all jobs together (0.05)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 4 ] || usage
data=$1
graph=$2
srcdir=$3
dir=$4
logdir=$dir/log
check_runner "$logdir"

require_files "$data/feats.scp" "$data/cmvn.scp" "$data/utt2spk" "$data/spk2utt" "$srcdir/final.mdl" \
  "$graph/phones/silence.csl"
check_share "$max_dropped"
check_number nj
[ ! "$data" -ef "$dir" ] || die "$dir is the directory of the features: give one of its own"
refuse_other_kinds "$dir" data
hold_directory "$dir"
speakers=$(_num_speakers "$data")
[ "$nj" -le "$speakers" ] || nj=$speakers
tables=$dir/data
make_dir "$logdir" "$tables"
set_table_dir tables "$tables"
if [ -n "$ali_dir" ]; then first_pass=("$ali_dir"); else first_pass=("$graph/HCLG.fst"); fi
depends_on "nj beam max_active lmwt fmllr_min_count max_dropped" "$data"/*.scp \
  "$data"/{text,utt2spk,spk2utt,segments,utt2num_frames} "$graph/phones/silence.csl" \
  "$srcdir"/{final.{mdl,mat},{cmvn,delta,splice}_opts} "${first_pass[@]}"
made_first=()
[ -n "$ali_dir" ] || made_first=("$tables/first_pass_ali.JOB.ark")
mark=$dir/.make_fmllr_feats.done
set_job_files "$tables"/{feats.JOB.ark,feats.JOB.scp,trans.JOB}
marked=("$dir"/{feats.scp,utt2spk} "${job_files[@]}")
set_job_files ${made_first[@]+"${made_first[@]}"}
all_results=("${marked[@]}" ${job_files[@]+"${job_files[@]}"})
# Marks of an earlier dkt do not tell of the first pass.
if [ ! -f "$mark" ] || grep -q first_pass_ali "$mark"; then marked=("${all_results[@]}"); fi
set_judged_logs "$logdir/fmllr.JOB.log" ${made_first[@]+"$logdir/first_pass.JOB.log"}
if [ "$stage" -gt 0 ]; then begin_step "$mark" "${marked[@]}"; elif already_done "$mark" "${marked[@]}"; then exit 0; fi
sdata=$(make_split "$data" "$nj" "$dir") || exit 1

if [ -n "$ali_dir" ]; then
  require_files "$ali_dir/num_jobs" "$ali_dir/ali.1.gz" "$ali_dir/final.mdl"
  cmp -s "$ali_dir/final.mdl" "$srcdir/final.mdl" || die "$ali_dir was not aligned by the model of $srcdir: align again"
  alignments=$ali_dir
else
  alignments=ark:$tables/first_pass_ali.JOB.ark
  if [ "$stage" -le 0 ]; then
    require_files "$graph/HCLG.fst"
    begin_jobs "$nj" "$logdir/first_pass.JOB.log" "${made_first[@]}"
    acoustic_scale=$(awk -v lmwt="$lmwt" 'BEGIN { print 1 / lmwt }')
    run_jobs "$logdir/first_pass.JOB.log" set -o pipefail "$THEN" \
      dkt gmm-compute-likes --max-dropped=1 "$srcdir/final.mdl" "$sdata/JOB" ark:- "$PIPE" \
      dkt decode-faster-mapped --beam="$beam" --max-active="$max_active" --min-active=200 --max-dropped=1 \
      --acoustic-scale="$acoustic_scale" "$srcdir/final.mdl" "$graph/HCLG.fst" ark:- \
      ark:/dev/null ark:"$made/first_pass_ali.JOB.ark"
    set_judged_logs "$logdir/first_pass.JOB.log"
    verdict
    place_jobs
  fi
fi

if [ "$stage" -le 1 ]; then
  # With --stage 1 they may be of other options.
  if [ -z "$ali_dir" ]; then
    set_made_files "$tables/first_pass_ali.JOB.ark"
    made_inputs=("${made_files[@]}")
  fi
  begin_jobs "$nj" "$logdir/fmllr.JOB.log" "$tables"/{feats.JOB.ark,feats.JOB.scp,trans.JOB}
  run_jobs "$logdir/fmllr.JOB.log" \
    dkt compute-fmllr-feats --silence-phones="$(cat "$graph/phones/silence.csl")" \
    --fmllr-min-count="$fmllr_min_count" "$srcdir" "$sdata/JOB" "$alignments" \
    ark,scp:"$made/feats.JOB.ark,$made/feats.JOB.scp" ark:"$made/trans.JOB"
  set_judged_logs "$logdir/fmllr.JOB.log"
  verdict
  back_up "$dir" feats.scp
  place_jobs
fi

for file in text utt2spk spk2utt wav.scp segments utt2num_frames; do
  [ ! -f "$data/$file" ] || copy_file "$data/$file" "$dir/$file"
done
gather_jobs "$dir/feats.scp" "$tables/feats.JOB.scp"
[ "$stage" -ge 1 ] || mark_done "${all_results[@]}"
echo "$script_name: adapted features of $(wc -l <"$dir/feats.scp") utterances in $dir, logs in $logdir"
