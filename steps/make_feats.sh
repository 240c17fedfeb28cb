#!/usr/bin/env bash
# Makes the features of one data directory; called by make_fbank.sh and make_mfcc.sh with the kind of features in
# front of the arguments.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

kind=${1:-}
case $kind in
  fbank | mfcc) shift ;;
  *) die "call steps/make_fbank.sh or steps/make_mfcc.sh" ;;
esac
script_name=steps/make_$kind.sh

stage=0
nj=4
cmd=run.pl
printf -v "${kind}_config" %s ""
compress=true
max_dropped=0
help_message="Usage: steps/make_$kind.sh [options] <data-dir> [<log-dir> [<feature-dir>]]
 e.g.: steps/make_$kind.sh --nj 4 --$kind-config conf/$kind.conf data/train
options:
  --stage <n>           0: compute, 1: only gather what the jobs wrote (0)
  --nj <n>              number of jobs (4)
  --cmd <cmd>           how to run them (run.pl)
  --$kind-config <file>  Kaldi's configuration of these features (conf/$kind.conf, or Kaldi's defaults if it is not there)
  --compress <bool>     compress as Kaldi does (true)
  --max-dropped <share>  share of unreadable recordings allowed, all jobs together (0)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# -ge 1 ] && [ $# -le 3 ] || usage
data=$1
logdir=${2:-$data/log}
tables=${3:-$data/data}
config_variable=${kind}_config
config=${!config_variable}
[ -n "$config" ] || [ ! -e "conf/$kind.conf" ] || config=conf/$kind.conf
name=$(basename "$data")
log=$logdir/make_${kind}_$name.JOB.log
check_runner "$logdir/make_${kind}_$name"

require_files "$data/wav.scp" "$data/utt2spk"
configured=()
if [ -n "$config" ]; then
  [ -e "$config" ] || require_files "$config"
  configured=(--config="$config")
else
  echo "$script_name: no conf/$kind.conf here: $kind features by Kaldi's defaults (--$kind-config gives others)"
fi
check_share "$max_dropped"
[ -d "$logdir" ] && [ -d "$tables" ] || require_writable "$data"
make_dir "$logdir" "$tables"
set_table_dir tables "$tables"
mark=$data/.make_$kind.done
# shellcheck disable=SC2034 # by its name
audio=$(listed_files "$data/wav.scp")
depends_on "nj compress max_dropped audio" "$data"/{wav.scp,utt2spk,segments,spk2utt,reco2file_and_channel,spk2warp,utt2warp} \
  "$config"
written=("$tables/raw_${kind}_$name.JOB".{ark,scp} "$tables/utt2num_frames_$name.JOB")
set_job_files "${written[@]}"
set_judged_logs "$log"
if [ "$stage" -le 0 ] && already_done "$mark" "$data"/{feats.scp,utt2num_frames} "${job_files[@]}"; then exit 0; fi
require_writable "$data"
hold_directory "$data"
sdata=$(make_split "$data" "$nj" "$tables") || exit 1

if [ "$stage" -le 0 ]; then
  begin_jobs "$nj" "$log" "${written[@]}"
  segments=()
  [ ! -f "$data/segments" ] || segments=(--segments="$sdata/JOB/segments")
  # As Kaldi's scripts: factors of speakers come before those of utterances.
  warps=()
  if [ -f "$data/spk2warp" ]; then
    warps=(--vtln-map=ark:"$data/spk2warp" --utt2spk=ark:"$data/utt2spk")
  elif [ -f "$data/utt2warp" ]; then
    warps=(--vtln-map=ark:"$data/utt2warp")
  fi
  # Each job may lose what it must; the limit is on their sum.
  run_jobs "$log" \
    dkt "compute-$kind-feats" ${configured[@]+"${configured[@]}"} --compress="$compress" --max-dropped=1 \
    ${segments[@]+"${segments[@]}"} ${warps[@]+"${warps[@]}"} --write-num-frames="$made/utt2num_frames_$name.JOB" \
    scp:"$sdata/JOB/wav.scp" ark,scp:"$made/raw_${kind}_$name.JOB.ark,$made/raw_${kind}_$name.JOB.scp"
  verdict
  back_up "$data" feats.scp utt2num_frames cmvn.scp
  place_jobs
fi

gather_jobs "$data/utt2num_frames" "$tables/utt2num_frames_$name.JOB"
gather_jobs "$data/feats.scp" "$tables/raw_${kind}_$name.JOB.scp"
[ "$stage" -ge 1 ] || mark_done
echo "$script_name: $kind features of $(wc -l <"$data/feats.scp") utterances in $data/feats.scp, logs in $logdir"
