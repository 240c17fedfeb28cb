#!/usr/bin/env bash
# Adds copies at other speeds to a data directory, as Kaldi's utils/data/perturb_data_dir_speed_3way.sh, at any
# number of speeds. The copies are wav files in <target-dir>/wav, with the prefix sp<factor>- in the names of
# utterances and speakers.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
factors="0.9 1.1"
max_dropped=0
help_message="Usage: steps/perturb_data_dir_speed.sh [options] <source-dir> <target-dir>
 e.g.: steps/perturb_data_dir_speed.sh data/train data/train_sp
options:
  --stage <n>         up to 0: perturb, 1: only see that the directory is there (0)
  --cmd <cmd>         how to run the job (run.pl)
  --factors <list>    speeds of the copies, above 1 is faster (0.9 1.1)
  --max-dropped <share>  share of unreadable recordings allowed (0)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 2 ] || usage
data=$1
dir=$2
logdir=$dir/log
log=$logdir/perturb_speed.log
check_runner "$logdir"

if [ "$stage" -le 0 ]; then
  require_files "$data/wav.scp" "$data/utt2spk" "$data/text"
  # shellcheck disable=SC2034 # by its name
  audio=$(listed_files "$data/wav.scp")
  depends_on "factors max_dropped audio" "$data"/{wav.scp,utt2spk,text,segments,spk2gender,utt2uniq,utt2lang}
  set_judged_logs "$log"
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.perturb_data_dir_speed.done" "$dir"/{wav.scp,utt2spk,spk2utt,text,wav}; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$log" dkt perturb-speed --factors="$factors" --max-dropped="$max_dropped" --steal-lock="$steal_lock" \
    "$data" "$dir"
  mark_done
fi
require_files "$dir/text"
tell_copies "$dir" "$log"
