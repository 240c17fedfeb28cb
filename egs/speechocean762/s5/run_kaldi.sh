#!/usr/bin/env bash
# Teacher and students on the features and alignments of a Kaldi experiment: what a user of Kaldi does with dkt.
# Run it again and it goes on where it stopped.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/cmd.sh"

kaldi_dir=
exp=
nj=2
stage=
stop_stage=4
seeds="777"
students="lstm-hard lstm-soft-T1 lstm-soft-T2 lstm-pretrain-T1 lstm-pretrain-T2"
dnn_config=
lstm_config=
data_train=data/train
data_dev=data/dev
lang=lang
ali_train=exp/tri2b_ali
ali_dev=exp/tri2b_ali_dev
graph=
data_test=data/test
beam=11.0
max_active=2000
lmwts="6 8 10 12"
help_message="Usage: ./run_kaldi.sh --kaldi-dir <dir> [options]
  --kaldi-dir <dir>     a Kaldi recipe's directory; the directories below are relative to it
  --data-train, --data-dev   data directories with features (data/train, data/dev)
  --lang <dir>          (lang)
  --ali-train, --ali-dev     alignment directories (exp/tri2b_ali, exp/tri2b_ali_dev)
  --graph <dir>         with HCLG.fst: search <data-dev> and <data-test> too (no search)
  --data-test <dir>     (data/test)
  --beam, --max-active, --lmwts   of the search; the last is scanned on <data-dev>
  --exp <dir>           where the experiments and their report go (exp/kaldi)
  --nj <n>              jobs in parallel (2)
  --stage, --stop-stage, --seeds, --students   as of run.sh; stages are 0 to 4
  --dnn-config, --lstm-config <yaml>   (conf/kaldi_dnn.yaml, conf/kaldi_lstm.yaml)"
. "$recipe/../../../steps/utils/parse_options.sh"
. "$recipe/../../../local/stages.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
make_absolute kaldi_dir exp dnn_config lstm_config
[ -n "$kaldi_dir" ] || { echo "run_kaldi.sh: --kaldi-dir is missing" >&2; echo "$help_message" >&2; exit 1; }
. "$recipe/path.sh"

exp=${exp:-$recipe/exp/kaldi}
dnn_config=${dnn_config:-$recipe/conf/kaldi_dnn.yaml}
lstm_config=${lstm_config:-$recipe/conf/kaldi_lstm.yaml}
stage_options="$kaldi_dir $data_train $data_dev $lang $ali_train $ali_dev"
# Kaldi's lists name files from here.
cd "$kaldi_dir"

network_train=$data_train
network_dev=$data_dev
. "$DKT_ROOT/local/network_stages.sh"
stage_teachers 0
stage_soft_targets 1
stage_students 2

# shellcheck disable=SC2086 # a list
mapfile -t networks < <(network_files dnn $students)
if [ -n "$graph" ] && begin_stage --leaf 3 "search" <(echo "$graph $data_test $beam $max_active $lmwts") "${networks[@]}"; then
  for network in "${networks[@]}"; do
    "$DKT_ROOT/local/decode_dev_then_test.sh" --nj "$nj" --cmd "$decode_cmd" --beam "$beam" --max-active "$max_active" \
      --lmwts "$lmwts" --word-ins-penalties "0.0" "$graph" "$data_dev" "$data_test" "$(dirname "$network")"
  done
  end_stage
fi

if [ "$stop_stage" -ge 4 ]; then
  echo "=== stage 4: report [$(stages_elapsed) s]"
  mapfile -t systems < <(network_systems)
  dkt report --out "$exp/report" "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
