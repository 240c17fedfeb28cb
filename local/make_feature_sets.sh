#!/usr/bin/env bash
# Makes <data>/<part>_mfcc and <data>/<part>_fbank of each data directory <data>/<part>: MFCC for the GMM,
# filterbanks for networks, with CMVN statistics.
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/common.sh"
set -euo pipefail

nj=4
cmd=run.pl
kinds="mfcc fbank"
help_message="Usage: local/make_feature_sets.sh [--nj <n>] [--cmd <cmd>] [--kinds \"mfcc fbank\"] <data> <part>...
 e.g.: local/make_feature_sets.sh data train dev test
The configurations are conf/mfcc.conf and conf/fbank.conf."
. "$DKT_ROOT/steps/lib/options.sh"

[ $# -ge 2 ] || usage
data=$1
shift
for kind in $kinds; do
  case $kind in
    mfcc | fbank) ;;
    *) die "--kinds names '$kind', expected mfcc or fbank" ;;
  esac
done
for part in "$@"; do
  require_files "$data/$part"/{wav.scp,text,utt2spk,spk2utt}
  for kind in $kinds; do
    dir=$data/${part}_$kind
    hold_directory "$dir"
    # A new time would make the features anew.
    for file in wav.scp text utt2spk spk2utt; do
      cmp -s "$data/$part/$file" "$dir/$file" || copy_file "$data/$part/$file" "$dir/$file"
    done
    "$DKT_ROOT/steps/make_$kind.sh" --nj "$nj" --cmd "$cmd" "$dir"
    "$DKT_ROOT/steps/compute_cmvn_stats.sh" --cmd "$cmd" "$dir"
  done
done
