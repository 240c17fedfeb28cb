#!/usr/bin/env bash
# Teacher and students on the features and alignments of a Kaldi experiment: what a user of Kaldi does with dkt.
# Run it again and it goes on where it stopped.
set -euo pipefail
recipe=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../../../steps/lib/signals.sh"
. "$recipe/cmd.sh"

default_graph=exp/tri2b/graph
kaldi_dir=
exp=
nj=2
stage=
stop_stage=5
seeds="777"
students="lstm-hard lstm-soft-T1 lstm-soft-T2 lstm-pretrain-T1 lstm-pretrain-T2"
dnn_config=
lstm_config=
small_config=
data_train=data/train
data_dev=data/dev
lang=lang
ali_train=exp/tri2b_ali
ali_dev=exp/tri2b_ali_dev
graph=$default_graph
data_tuning=
data_test=data/test
searched=
beam=13.0
lattice_beam=8.0
max_active=7000
min_active=200
acwt=0.1
lmwts="4 5 6 7 8 9 10 11 12 13 14 15"
word_ins_penalties="0.0 0.5 1.0"
realign_by=
retrain=
steal_lock=false
help_message="Usage: ./run_kaldi.sh --kaldi-dir <dir> [options]
  --kaldi-dir <dir>     a Kaldi recipe's directory; the directories below are relative to it
  --data-train, --data-dev   data directories with features (data/train, data/dev)
  --lang <dir>          (lang)
  --ali-train, --ali-dev     alignment directories (exp/tri2b_ali, exp/tri2b_ali_dev)
  --graph <dir>         decode with its HCLG.fst ($default_graph if that is there; '' for no decoding)
  --data-tuning <dir>   where LM weight and penalty are chosen (<data-dev>)
  --data-test <dir>     (data/test)
  --searched <list>     systems to decode with (dnn and all students)
  --beam, --lattice-beam, --max-active, --min-active, --acwt   of the decoding, which leaves lattices
  --lmwts, --word-ins-penalties <list>   scored at each on <data-tuning>; at the best of them on <data-test>
  --realign-by <system>   it aligns <data-train> and <data-dev>, and networks are trained anew on that (none)
  --retrain <list>      which: always dnn, and these students (that of --realign-by, with the one it goes on from)
  --exp <dir>           where the experiments and their report go (exp/kaldi)
  --nj <n>              jobs in parallel (2)
  --stage, --stop-stage, --seeds, --students, --steal-lock   as of run.sh; stages are 0 to 5
  --dnn-config, --lstm-config, --small-config <yaml>   (conf/kaldi_dnn.yaml, kaldi_lstm.yaml, kaldi_small.yaml)"
. "$recipe/../../../steps/utils/parse_options.sh"
. "$recipe/../../../local/stages.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
make_absolute kaldi_dir exp dnn_config lstm_config small_config
[ -n "$kaldi_dir" ] || { echo "run_kaldi.sh: --kaldi-dir is missing" >&2; echo "$help_message" >&2; exit 1; }
require_options f dnn_config lstm_config small_config
require_options d kaldi_dir
. "$recipe/path.sh"

exp=${exp:-$recipe/exp/kaldi}
dnn_config=${dnn_config:-$recipe/conf/kaldi_dnn.yaml}
lstm_config=${lstm_config:-$recipe/conf/kaldi_lstm.yaml}
small_config=${small_config:-$recipe/conf/kaldi_small.yaml}
stage_options="$kaldi_dir $data_train $data_dev $lang $ali_train $ali_dev"
# Kaldi's lists name files from here.
cd "$kaldi_dir"
check_recipe "$exp"
[ "$graph" != "$default_graph" ] || [ -e "$graph/HCLG.fst" ] || graph=
data_tuning=${data_tuning:-$data_dev}
decode_dev=decode_dev
decode_test=decode_test
require_files "$data_train/feats.scp" "$data_dev/feats.scp" "$lang/phones.txt" \
  "$ali_train"/{final.mdl,num_jobs} "$ali_dev"/{final.mdl,num_jobs}
# Not after hours of training.
if [ -n "$graph" ]; then
  require_files "$graph"/{HCLG.fst,words.txt} "$data_tuning"/{feats.scp,text} "$data_test/feats.scp"
  check_decoding lattice_beam acwt
fi

network_train=$data_train
network_dev=$data_dev
. "$DKT_ROOT/local/network_stages.sh"
. "$DKT_ROOT/local/realigning.sh"
. "$DKT_ROOT/local/graph_decoding.sh"
check_graph "$ali_train/final.mdl"
stage_teachers 0
stage_soft_targets 1
stage_students 2
stage_decode 3

if [ -n "$realign_by" ]; then
  mapfile -t networks < <(network_files "$realign_by")
  if begin_stage --leaf 4 "realign by $realign_by, retrain: dnn $retrained_students" "${dnn_files[@]}" "${lstm_files[@]}" \
    <(echo "$seeds $realign_by $retrained_students $grid") "${networks[@]}"; then
    realign_and_retrain
    # shellcheck disable=SC2086 # a list
    mapfile -t results < <(as_realigned network_files dnn $retrained_students)
    if [ -n "$graph" ]; then
      as_realigned decode
      mapfile -t -O ${#results[@]} results < <(as_realigned decode_results)
    fi
    end_stage "${results[@]}"
  fi
fi

if [ "$stop_stage" -ge 5 ]; then
  echo "=== stage 5: report [$(stages_elapsed) s]"
  mapfile -t systems < <(
    network_systems
    [ -z "$realign_by" ] || as_realigned network_systems
  )
  dkt report --out "$exp/report" "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
