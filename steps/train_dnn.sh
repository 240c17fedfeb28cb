#!/usr/bin/env bash
# Trains a DNN on the alignments of a GMM, as Kaldi's steps/nnet/train.sh, or on the soft targets of a teacher.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$DKT_ROOT/steps/lib/training.sh"
set -euo pipefail

dnn_config=
help_message="Usage: steps/train_dnn.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp-dir>
       steps/train_dnn.sh --no-ali true [options] <data-train> <data-dev> <lang-dir> <exp-dir>
 e.g.: steps/train_dnn.sh --dnn-config conf/dnn.yaml data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp/dnn
options:
  --dnn-config <yaml>        features, network, objective, optimizer, schedule and fine_tuning
$training_help"
. "$DKT_ROOT/steps/lib/options.sh"

train_network train-dnn "$dnn_config" "$@"
