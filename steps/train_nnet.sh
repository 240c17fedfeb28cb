#!/usr/bin/env bash
# Trains a network of any kind on the alignments of a GMM, on the soft targets of a teacher, or on both.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/training.sh"
set -euo pipefail

nnet_config=
help_message="Usage: steps/train_nnet.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp-dir>
       steps/train_nnet.sh --no-ali true [options] <data-train> <data-dev> <lang-dir> <exp-dir>
 e.g.: steps/train_nnet.sh --nnet-config conf/blstm.yaml --mode soft --temperature 2 --teacher exp/dnn \\
         data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp/blstm_soft_T2
options:
  --nnet-config <yaml>       needed: network, with its type (dnn, lstm, blstm or gru), features, objective and so on
$training_help"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# -gt 0 ] || usage
[ -n "$nnet_config" ] || die "--nnet-config is needed: its key network.type says what is trained"
train_network train "$nnet_config" "$@"
