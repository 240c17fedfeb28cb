#!/usr/bin/env bash
# Connected digits, from audio to word error rates: a monophone GMM aligns the speech, a DNN learns the
# alignment, both are searched on the same graph. Run it again and it goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./cmd.sh

corpus=espeak
corpus_dir=
data=
exp=
nj=2
stage=
stop_stage=8
seeds="777"
num_train=
num_dev=
num_test=
dnn_config=conf/dnn.yaml
lmwts="10 15 20 25 30 40 50"
word_ins_penalties="0.0 1.0 2.0"
help_message="Usage: ./run.sh [options]
  --corpus <name>       espeak: synthetic digits in noise, made here without any download (default)
                        fsdd: real digits, with --corpus-dir the folder of the Free Spoken Digit Dataset
  --data <dir>          where the data go (data/<corpus>)
  --exp <dir>           where the experiments go (exp/<corpus>)
  --nj <n>              jobs in parallel (2)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (8)
  --seeds <list>        train a network with each of these seeds (777)
  --num-train <n>       utterances; also --num-dev, --num-test (as the corpus has them)
  --dnn-config <yaml>   the DNN (conf/dnn.yaml)
  --lmwts <list>, --word-ins-penalties <list>   scanned on dev"
dkt_root=$(cd ../../.. && pwd)
. "$dkt_root/steps/utils/parse_options.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
case $corpus in
  espeak) dkt_extras=standalone,report,synthetic ;;
  fsdd) [ -n "$corpus_dir" ] || { echo "$0: --corpus fsdd needs --corpus-dir" >&2; exit 1; } ;;
  *) echo "$0: no corpus '$corpus': espeak or fsdd" >&2; exit 1 ;;
esac
. ./path.sh

data=${data:-data/$corpus}
exp=${exp:-exp/$corpus}
steps=$DKT_ROOT/steps
stage_options="$corpus $corpus_dir $num_train $num_dev $num_test"
scan="$lmwts / $word_ins_penalties"
. "$DKT_ROOT/local/stages.sh"

if begin_stage 0 "corpus ($corpus)"; then
  sizes=(${num_train:+--num-train "$num_train"} ${num_dev:+--num-dev "$num_dev"} ${num_test:+--num-test "$num_test"})
  if [ "$corpus" = fsdd ]; then
    python local/prepare_fsdd.py --corpus-dir "$corpus_dir" ${sizes[@]+"${sizes[@]}"} "$data"
  else
    python local/prepare_espeak.py ${sizes[@]+"${sizes[@]}"} "$data"
  fi
  end_stage
fi

if begin_stage 1 "dictionary, language model"; then
  "$steps/prepare_lang.sh" --order 1 --dev-text "$data/dev/text" \
    "$data/local/dict" '<UNK>' "$data/local/lm_train.txt" "$data/lang"
  end_stage
fi

if begin_stage 2 "features: MFCC for the GMM, filterbanks for the network" conf/mfcc.conf conf/fbank.conf; then
  "$DKT_ROOT/local/make_feature_sets.sh" --nj "$nj" --cmd "$train_cmd" "$data" train dev test
  end_stage
fi

if begin_stage 3 "monophone GMM and graph"; then
  "$steps/train_mono.sh" --nj "$nj" --cmd "$train_cmd" "$data/train_mfcc" "$data/lang" "$exp/mono"
  "$steps/mkgraph.sh" "$data/lang" "$exp/mono" "$exp/mono/graph"
  end_stage
fi

# search <features> <model-dir>
search() {
  "$DKT_ROOT/local/decode_dev_then_test.sh" --nj "$nj" --cmd "$decode_cmd" \
    --lmwts "$lmwts" --word-ins-penalties "$word_ins_penalties" \
    "$exp/mono/graph" "$data/dev_$1" "$data/test_$1" "$2"
}

if begin_stage 4 "search with the GMM" <(echo "$scan"); then
  search mfcc "$exp/mono"
  end_stage
fi

if begin_stage 5 "alignments for the network"; then
  for part in train dev; do
    "$steps/align_si.sh" --nj "$nj" --cmd "$train_cmd" \
      "$data/${part}_mfcc" "$data/lang" "$exp/mono" "$exp/mono_ali_$part"
  done
  end_stage
fi

if begin_stage 6 "DNN" "$dnn_config" <(echo "$seeds"); then
  for seed in $seeds; do
    "$steps/train_dnn.sh" --cmd "$train_cmd" --dnn-config "$dnn_config" --seed "$seed" \
      "$data/train_fbank" "$data/dev_fbank" "$data/lang" "$exp/mono_ali_train" "$exp/mono_ali_dev" "$exp/dnn_seed$seed"
  done
  end_stage
fi

if begin_stage 7 "search with the DNN" "$dnn_config" <(echo "$seeds $scan"); then
  for seed in $seeds; do
    search fbank "$exp/dnn_seed$seed"
  done
  end_stage
fi

if [ "$stop_stage" -ge 8 ]; then
  echo "=== stage 8: report [$(stages_elapsed) s]"
  systems=("gmm=$exp/mono")
  for seed in $seeds; do systems+=("dnn=$exp/dnn_seed$seed"); done
  dkt report --out exp/report "${systems[@]}"
  echo "=== $0: $corpus done in $(stages_elapsed) s"
fi
