#!/usr/bin/env bash
# Adds noise to copies of the utterances of a data directory, as Kaldi's steps/data/augment_data_dir.py: noise that
# sounds all along, from a data directory of noises or made here, and noises that come one after the other. The copies
# are wav files in <target-dir>/wav; utt2snr and utt2noise tell what was added, utt2uniq which utterances they are of.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
bg_noise_dir=
bg_noise_types=
fg_noise_dir=
bg_snrs=20:10:0
fg_snrs=20:10:0
num_bg_noises=
fg_interval=0
num_replications=1
random_seed=123
utt_prefix=
utt_suffix=
modify_spk_id=
include_original=false
max_dropped=0
help_message="Usage: steps/augment_data_dir.sh [options] <source-dir> <target-dir>
 e.g.: steps/augment_data_dir.sh --utt-prefix babble --bg-noise-types babble --bg-snrs 20:17:15:13 data/train data/train_babble
options (names and defaults of Kaldi's script):
  --stage <n>            up to 0: augment, 1: only see that the directory is there (0)
  --cmd <cmd>            how to run the job (run.pl)
  --bg-noise-dir <dir>   data directory of noises that sound all along an utterance, repeated where they end
  --bg-noise-types <kinds>   in place of them white, pink and babble (what other speakers of the data say), one of the
                         kinds for each utterance, as white:babble
  --fg-noise-dir <dir>   data directory of noises that come one after the other
  --bg-snrs <list>, --fg-snrs <list>   signal-to-noise ratios to draw from, in dB: 20:10:0, or a range, 0..20 (20:10:0)
  --num-bg-noises <list> how many of the former sound at a time, numbers to draw from (1, of babble 3:4:5:6:7)
  --fg-interval <s>      seconds between the end of one of the latter and the next (0)
  --num-replications <n> copies of each utterance; of several the prefix or suffix has the number behind it (1)
  --random-seed <n>      of the draws, which depend on it and the name of the copy alone (123)
  --utt-prefix <word>    <word>-<utterance> is the name of a copy
  --utt-suffix <word>    <utterance>-<word> is the name of a copy
  --modify-spk-id <bool> prefix or suffix are in the names of speakers too (true with a prefix, false with a suffix)
  --include-original <bool>   the utterances as they are come along (false)
  --max-dropped <share>  share of unreadable or silent recordings allowed (0)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 2 ] || usage
data=$1
dir=$2
logdir=$dir/log
log=$logdir/augment.log
check_runner "$logdir"
options=(${bg_noise_dir:+--bg-noise-dir="$bg_noise_dir"} ${bg_noise_types:+--bg-noise-types="$bg_noise_types"}
  ${fg_noise_dir:+--fg-noise-dir="$fg_noise_dir"} --bg-snrs="$bg_snrs" --fg-snrs="$fg_snrs"
  ${num_bg_noises:+--num-bg-noises="$num_bg_noises"} --fg-interval="$fg_interval"
  --num-replications="$num_replications" --random-seed="$random_seed")

if [ "$stage" -le 0 ]; then
  [ -n "$bg_noise_dir$bg_noise_types$fg_noise_dir" ] ||
    die "there is nothing to add: give --bg-noise-dir, --fg-noise-dir or --bg-noise-types"
  set_copy_options
  require_files "$data/wav.scp" "$data/utt2spk"
  # shellcheck disable=SC2034 # by its name
  audio=$(listed_files "$data/wav.scp")
  # Which of the directories of noises is which.
  # shellcheck disable=SC2034
  noise_sides="${bg_noise_dir:+bg} ${fg_noise_dir:+fg}"
  for noises in "$bg_noise_dir" "$fg_noise_dir"; do
    [ -n "$noises" ] || continue
    require_files "$noises/wav.scp"
    copy_inputs+=("$noises"/{wav.scp,segments})
    audio+=" $(listed_files "$noises/wav.scp")"
  done
  depends_on "bg_noise_types bg_snrs fg_snrs num_bg_noises fg_interval num_replications random_seed noise_sides \
    $copy_variables max_dropped audio" "${copy_inputs[@]}"
  set_judged_logs "$log"
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.augment_data_dir.done" "$dir"/{wav.scp,utt2spk,spk2utt,text,utt2uniq,utt2snr,wav}; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$log" dkt augment-data "${options[@]}" "${copy_options[@]}" "$data" "$dir"
  mark_done
fi
tell_copies "$dir" "$log"
