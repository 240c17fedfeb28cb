#!/usr/bin/env bash
# Builds the decoding graph HCLG.fst, as Kaldi's utils/mkgraph.sh.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

cmd=run.pl
transition_scale=1.0
self_loop_scale=0.1
help_message="Usage: steps/mkgraph.sh [options] <lang-dir> <model-dir> <graph-dir>
 e.g.: steps/mkgraph.sh data/lang exp/mono exp/mono/graph
options:
  --cmd <cmd>             how to run the job (run.pl)
  --transition-scale <x>  scale of transition probabilities (1.0)
  --self-loop-scale <x>   scale of self-loop probabilities (0.1)"
. parse_options.sh

if [ $# != 3 ]; then
  echo "$help_message" >&2
  exit 1
fi
lang=$1
model=$2
dir=$3

require_files "$lang/L_disambig.fst" "$lang/G.fst" "$lang/phones.txt" "$lang/words.txt" "$model/final.mdl" "$model/tree"
mkdir -p "$dir/log"
# shellcheck disable=SC2086
$cmd "$dir/log/mkgraph.log" \
  dkt mkgraph --transition-scale="$transition_scale" --self-loop-scale="$self_loop_scale" "$lang" "$model" "$dir"
echo "$0: graph in $dir/HCLG.fst, log in $dir/log/mkgraph.log"
