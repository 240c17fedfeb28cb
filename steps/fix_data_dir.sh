#!/usr/bin/env bash
# Sorts the files of a data directory, takes out what is not in all of them and makes spk2utt, as Kaldi's
# utils/fix_data_dir.sh.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
# shellcheck disable=SC2034 # the work is too small for a job
cmd=run.pl
utt_extra_files=
spk_extra_files=
help_message="Usage: steps/fix_data_dir.sh [options] <data-dir>
 e.g.: steps/fix_data_dir.sh data/train
Files that change are kept in <data-dir>/.backup.
options:
  --utt-extra-files, --spk-extra-files <names>   further files, whose keys are utterances and speakers
  --stage <n>, --cmd <cmd>   taken as by every step; up to 0: mend, 1: only see that the directory is there (0)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 1 ] || usage
data=$1

require_files "$data/utt2spk"
if [ "$stage" -le 0 ]; then
  hold_directory "$data"
  dkt fix-data --utt-extra-files="$utt_extra_files" --spk-extra-files="$spk_extra_files" "$data"
fi
