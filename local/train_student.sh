#!/usr/bin/env bash
# Trains one student of a recipe: its name says how.
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/common.sh"
set -euo pipefail

cmd=run.pl
lstm_config=
num_threads=1
help_message="Usage: local/train_student.sh [options] <data-train> <data-dev> <lang-dir> <ali-train> <ali-dev> <exp> <system> <seed>
 e.g.: local/train_student.sh data/train data/dev data/lang exp/mono_ali exp/mono_ali_dev exp lstm-soft-T2 777
The system is lstm-hard, lstm-soft-T<temperature> or lstm-pretrain-T<temperature>. The teacher is
<exp>/dnn_seed<seed>, with its soft targets in soft_train and soft_dev; made is <exp>/<system>_seed<seed>.
lstm-pretrain goes on from the lstm-soft of the same seed, which must be there: the two are what
steps/train_lstm.sh --mode pretrain does at once. With _realigned at the end of the system's name teacher and
lstm-soft are those with it too.
options: --cmd, --lstm-config, --num-threads, as of steps/train_lstm.sh"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 8 ] || usage
exp=$6
system=$7
seed=$8
kind=${system%_realigned}
realigned=${system#"$kind"}
teacher=$exp/dnn${realigned}_seed$seed
temperature=${kind##*-T}

case $kind in
  lstm-hard) how=(--mode hard) ;;
  lstm-soft-T*)
    how=(--mode soft --temperature "$temperature"
      --soft-targets "$teacher/soft_train" --soft-targets-dev "$teacher/soft_dev")
    ;;
  lstm-pretrain-T*)
    begun=$exp/lstm-soft-T$temperature${realigned}_seed$seed/final.pt
    require_files "$begun"
    how=(--mode hard --init-model "$begun")
    ;;
  *) die "no system '$system': lstm-hard, lstm-soft-T<temperature> or lstm-pretrain-T<temperature>" ;;
esac
"$DKT_ROOT/steps/train_lstm.sh" --cmd "$cmd" ${lstm_config:+--lstm-config "$lstm_config"} --seed "$seed" \
  --num-threads "$num_threads" "${how[@]}" "${@:1:5}" "$exp/${system}_seed$seed"
