#!/usr/bin/env bash
# Builds the decoding graph HCLG.fst, as Kaldi's utils/mkgraph.sh.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=0
cmd=run.pl
transition_scale=1.0
self_loop_scale=0.1
help_message="Usage: steps/mkgraph.sh [options] <lang-dir> <model-dir> <graph-dir>
 e.g.: steps/mkgraph.sh data/lang exp/mono exp/mono/graph
options:
  --stage <n>             up to 0: build, 1: only see that the graph is there; building is one program (0)
  --cmd <cmd>             how to run the job (run.pl)
  --transition-scale <x>  scale of transition probabilities (1.0)
  --self-loop-scale <x>   scale of self-loop probabilities (0.1)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 3 ] || usage
lang=$1
srcdir=$2
dir=$3
logdir=$dir/log
check_runner "$logdir"

if [ "$stage" -le 0 ]; then
  require_files "$lang/L_disambig.fst" "$lang/G.fst" "$lang/phones.txt" "$lang/words.txt" "$srcdir/final.mdl" \
    "$srcdir/tree"
  depends_on "transition_scale self_loop_scale" "$lang"/{L_disambig.fst,G.fst,phones.txt,words.txt} "$lang/phones" \
    "$srcdir"/{final.mdl,tree}
fi
if [ "$stage" -le 0 ] &&
  ! already_done "$dir/.mkgraph.done" "$dir"/{HCLG.fst,words.txt,phones.txt,phones/silence.csl}; then
  hold_directory "$dir"
  make_dir "$logdir"
  run_job_or_die "$logdir/mkgraph.log" \
    dkt mkgraph --transition-scale="$transition_scale" --self-loop-scale="$self_loop_scale" --steal-lock="$steal_lock" \
    "$lang" "$srcdir" "$dir"
  mark_done
fi
require_files "$dir/HCLG.fst" "$dir/words.txt"
echo "$script_name: graph in $dir/HCLG.fst, log in $logdir/mkgraph.log"
