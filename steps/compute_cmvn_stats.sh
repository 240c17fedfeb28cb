#!/usr/bin/env bash
# Computes CMVN statistics of every speaker of a data directory, as Kaldi's script of this name.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
paste=feats.scp
max_dropped=0.05
help_message="Usage: steps/compute_cmvn_stats.sh [options] <data-dir> [<log-dir> [<cmvn-dir>]]
 e.g.: steps/compute_cmvn_stats.sh data/train
options:
  --stage <n>         0: compute, 1: only put the list of what was computed into the data directory (0)
  --cmd <cmd>         how to run the job (run.pl)
  --paste <list>      script files of <data-dir> whose features are pasted first (feats.scp)
  --max-dropped <share>  share of utterances that may be without features (0.05)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# -ge 1 ] && [ $# -le 3 ] || usage
data=$1
logdir=${2:-$data/log}
tables=${3:-$data/data}
name=$(basename "$data")
log=$logdir/cmvn_$name.log
check_runner "$log"

require_files "$data/feats.scp" "$data/utt2spk"
check_share "$max_dropped"
[ -d "$logdir" ] && [ -d "$tables" ] || require_writable "$data"
make_dir "$logdir" "$tables"
set_table_dir tables "$tables"
refuse_job_word "$data" "$logdir" "$tables"
mark=$data/.compute_cmvn_stats.done
inputs=("$data"/{utt2spk,spk2utt})
for script in $paste; do inputs+=("$data/$script"); done
depends_on "paste max_dropped" "${inputs[@]}"
set_judged_logs "$log"
if [ "$stage" -le 0 ] && already_done "$mark" "$data/cmvn.scp" "$tables/cmvn_$name.ark"; then exit 0; fi
require_writable "$data"
hold_directory "$data"
if [ "$stage" -le 0 ]; then
  begin_jobs 1 "$log" "$tables/cmvn_$name".{ark,scp}
  # The limit is on what is judged below.
  run_jobs "$log" dkt compute-cmvn-stats --paste="$paste" --max-dropped=1 "$data" \
    ark,scp:"$made/cmvn_$name.ark,$made/cmvn_$name.scp"
  verdict
  back_up "$data" cmvn.scp
  place_jobs
fi
require_files "$tables/cmvn_$name.scp"
copy_file "$tables/cmvn_$name.scp" "$data/cmvn.scp"
[ "$stage" -ge 1 ] || mark_done
echo "$script_name: CMVN statistics of $(wc -l <"$data/cmvn.scp") speakers in $data/cmvn.scp, log in $log"
