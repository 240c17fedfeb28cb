#!/usr/bin/env bash
# Scales the recordings of a data directory, each by a factor of its own, as Kaldi's utils/data/perturb_data_dir_volume.sh,
# which does it in place: here into a directory of its own, with wav files in <target-dir>/wav. Names stay as they are,
# and alignments and segments' times with them, unless a prefix or suffix is given.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
scale_low=0.125
scale_high=2
random_seed=0
reco2vol=
write_reco2vol=
utt_prefix=
utt_suffix=
modify_spk_id=
include_original=false
max_dropped=0
help_message="Usage: steps/perturb_data_dir_volume.sh [options] <source-dir> <target-dir>
 e.g.: steps/perturb_data_dir_volume.sh data/train_sp data/train_sp_vol
options (names and defaults of Kaldi's script):
  --stage <n>         up to 0: perturb, 1: only see that the directory is there (0)
  --cmd <cmd>         how to run the job (run.pl)
  --scale-low <x>, --scale-high <x>   factors on the samples are drawn between these (0.125, 2)
  --random-seed <n>   of the draws (0)
  --reco2vol <file>   lines <recording> <factor>, to take instead
  --write-reco2vol <file>   where to write such lines
  --utt-prefix <word>, --utt-suffix <word>, --modify-spk-id <bool>, --include-original <bool>
                      copies beside the originals: as of steps/augment_data_dir.sh
  --max-dropped <share>  share of unreadable recordings allowed (0)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 2 ] || usage
data=$1
dir=$2
logdir=$dir/log
log=$logdir/perturb_volume.log
check_runner "$logdir"
options=(--scale-low="$scale_low" --scale-high="$scale_high" --random-seed="$random_seed" 
  ${reco2vol:+--reco2vol="$reco2vol"} ${write_reco2vol:+--write-reco2vol="$write_reco2vol"})

if [ "$stage" -le 0 ]; then
  set_copy_options
  require_files "$data/wav.scp" "$data/utt2spk" ${reco2vol:+"$reco2vol"}
  # shellcheck disable=SC2034 # by its name
  audio=$(listed_files "$data/wav.scp")
  depends_on "scale_low scale_high random_seed $copy_variables max_dropped audio" \
    "${copy_inputs[@]}" ${reco2vol:+"$reco2vol"}
  set_judged_logs "$log"
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.perturb_data_dir_volume.done" "$dir"/{wav.scp,utt2spk,spk2utt,text,wav} \
    ${write_reco2vol:+"$write_reco2vol"}; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$log" dkt perturb-volume "${options[@]}" "${copy_options[@]}" "$data" "$dir"
  mark_done
fi
tell_copies "$dir" "$log"
