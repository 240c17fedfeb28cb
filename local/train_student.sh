#!/usr/bin/env bash
# Trains one student of a recipe: its name says how.
# shellcheck disable=SC2034 # options are read by their names
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/common.sh"
. "$DKT_ROOT/local/students.sh"
set -euo pipefail

cmd=run.pl
dnn_config=
lstm_config=
hard_config=
small_config=
num_threads=1
help_message="Usage: local/train_student.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp> <system> <seed>
 e.g.: local/train_student.sh data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp lstm-soft-T2 777
The system is named as local/students.sh says: lstm-hard, lstm-soft-T2, lstm-pretrain-T2 and others. Made is
<exp>/<system>_seed<seed>. A teacher is <exp>/<teacher>_seed<seed>, with its soft targets in soft_train and soft_dev;
for logits it is run. A network that goes on from another begins from <exp>/<that>_seed<seed>: lstm-soft-T2 and
lstm-pretrain-T2 are what steps/train_lstm.sh --mode pretrain does at once. With _realigned at the end of the system's
name teacher and beginning are those with it too.
options: --cmd, --lstm-config, --dnn-config, --num-threads, as of steps/train_lstm.sh and steps/train_dnn.sh;
  --hard-config, of LSTMs that learn labels alone from fresh weights: lstm-hard, lstm-smooth (--lstm-config);
  --small-config, of the networks named small"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 8 ] || usage
exp=$6
seed=$8
system=${7%_realigned}
realigned=${7#"$system"}
read_student "$system"

how=(--mode "$mode" ${temperature:+--temperature "$temperature"})
if [ -n "$teacher" ]; then
  teacher=$exp/$teacher${realigned}_seed$seed
  if [ "$mode" = logits ]; then
    how+=(--teacher "$teacher")
  else
    how+=(--soft-targets "$teacher/soft_train" --soft-targets-dev "$teacher/soft_dev")
  fi
  ! "$shuffled" || how+=(--shuffle-targets true)
fi
if [ -n "$begun" ]; then
  begun=$exp/$begun${realigned}_seed$seed/final.pt
  require_files "$begun"
  how+=(--init-model "$begun")
fi
kind=${network/small/dnn}
config=$(config_of_student)_config
"$DKT_ROOT/steps/train_$kind.sh" --cmd "$cmd" ${!config:+"--$kind-config" "${!config}"} --seed "$seed" \
  --num-threads "$num_threads" "${how[@]}" "${@:1:5}" "$exp/$7_seed$seed"
