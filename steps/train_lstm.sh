#!/usr/bin/env bash
# Trains an LSTM on the alignments of a GMM, on the soft targets of a teacher, or on both.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/training.sh"
set -euo pipefail

lstm_config=
help_message="Usage: steps/train_lstm.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp-dir>
       steps/train_lstm.sh --no-ali true [options] <data-train> <data-dev> <lang-dir> <exp-dir>
 e.g.: steps/train_lstm.sh --mode pretrain --temperature 2 \\
         --soft-targets exp/dnn/soft_train --soft-targets-dev exp/dnn/soft_dev \\
         data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp/lstm_pretrain_T2
options:
  --lstm-config <yaml>       features, network, objective, batches, optimizer, schedule and fine_tuning
$training_help"
. "$DKT_ROOT/steps/lib/options.sh"

train_network train-lstm "$lstm_config" "$@"
