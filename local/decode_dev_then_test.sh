#!/usr/bin/env bash
# Searches dev at several language-model weights and word insertion penalties, and test at the best of them.
. "$(dirname "${BASH_SOURCE[0]}")/../steps/common.sh"
set -euo pipefail

nj=4
cmd=run.pl
lmwts="7 8 9 10 11 12 13 14 15 16 17"
word_ins_penalties="0.0 0.5 1.0"
beam=13.0
max_active=7000
help_message="Usage: local/decode_dev_then_test.sh [options] <graph-dir> <data-dev> <data-test> <model-dir>
 e.g.: local/decode_dev_then_test.sh exp/mono/graph data/dev data/test exp/dnn
options: --nj, --cmd, --lmwts, --word-ins-penalties, --beam, --max-active, as of steps/decode_scan.sh"
. parse_options.sh

[ $# = 4 ] || usage
graph=$1
model=$4
details=$model/decode_dev/scoring_kaldi/wer_details
decode=("$DKT_ROOT/steps/decode_scan.sh" --nj "$nj" --cmd "$cmd" --beam "$beam" --max-active "$max_active")

"${decode[@]}" --lmwts "$lmwts" --word-ins-penalties "$word_ins_penalties" "$graph" "$2" "$model/decode_dev"
"${decode[@]}" --lmwts "$(cat "$details/lmwt")" --word-ins-penalties "$(cat "$details/wip")" \
  "$graph" "$3" "$model/decode_test"
