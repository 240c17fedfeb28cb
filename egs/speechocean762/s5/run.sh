#!/usr/bin/env bash
# speechocean762 (English read by Mandarin speakers, half of them children), from audio to word error rates
# without Kaldi. Run it again and it goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./cmd.sh

corpus_dir=
data=data
exp=exp
nj=2
stage=
stop_stage=8
seeds="777"
totgauss=2000
dnn_config=conf/dnn.yaml
beam=11.0
max_active=2000
lmwts="6 8 10 12 15 18"
word_ins_penalties="0.0 1.0"
help_message="Usage: ./run.sh --corpus-dir <dir> [options]
  --corpus-dir <dir>    speechocean762, with train, dev, test, lexicon.txt and lm_train.txt
  --data <dir>, --exp <dir>   where data and experiments go (data, exp)
  --nj <n>              jobs in parallel (2)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (8)
  --seeds <list>        train a network with each of these seeds (777)
  --totgauss <n>        Gaussians of the GMM (2000)
  --dnn-config <yaml>   the DNN (conf/dnn.yaml)
  --beam, --max-active, --lmwts, --word-ins-penalties   of the search; the last two are scanned on dev"
dkt_root=$(cd ../../.. && pwd)
. "$dkt_root/steps/utils/parse_options.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
[ -n "$corpus_dir" ] || { echo "$0: --corpus-dir is missing" >&2; echo "$help_message" >&2; exit 1; }
. ./path.sh

steps=$DKT_ROOT/steps
stage_options="$corpus_dir"
scan="$beam $max_active $lmwts / $word_ins_penalties"
. "$DKT_ROOT/local/stages.sh"

if begin_stage 0 "data and dictionary"; then
  python local/prepare_data.py "$corpus_dir" "$data"
  end_stage
fi

if begin_stage 1 "lang directory, bigram language model"; then
  "$steps/prepare_lang.sh" --order 2 --dev-text "$data/dev/text" \
    "$data/local/dict" '<UNK>' "$data/local/lm_train.txt" "$data/lang"
  end_stage
fi

if begin_stage 2 "features: MFCC for the GMM, filterbanks for the network" conf/mfcc.conf conf/fbank.conf; then
  "$DKT_ROOT/local/make_feature_sets.sh" --nj "$nj" --cmd "$train_cmd" "$data" train dev test
  end_stage
fi

if begin_stage 3 "monophone GMM and graph" <(echo "$totgauss"); then
  "$steps/train_mono.sh" --nj "$nj" --cmd "$train_cmd" --totgauss "$totgauss" --boost-silence 1.25 \
    "$data/train_mfcc" "$data/lang" "$exp/mono"
  "$steps/mkgraph.sh" "$data/lang" "$exp/mono" "$exp/mono/graph"
  end_stage
fi

# search <features> <model-dir>
search() {
  "$DKT_ROOT/local/decode_dev_then_test.sh" --nj "$nj" --cmd "$decode_cmd" --beam "$beam" \
    --max-active "$max_active" --lmwts "$lmwts" --word-ins-penalties "$word_ins_penalties" \
    "$exp/mono/graph" "$data/dev_$1" "$data/test_$1" "$2"
}

if begin_stage 4 "search with the GMM" <(echo "$scan"); then
  search mfcc "$exp/mono"
  end_stage
fi

if begin_stage 5 "alignments for the network"; then
  for part in train dev; do
    "$steps/align_si.sh" --nj "$nj" --cmd "$train_cmd" --boost-silence 1.25 \
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
  for seed in $seeds; do search fbank "$exp/dnn_seed$seed"; done
  end_stage
fi

if [ "$stop_stage" -ge 8 ]; then
  echo "=== stage 8: report [$(stages_elapsed) s]"
  systems=("gmm=$exp/mono")
  for seed in $seeds; do systems+=("dnn=$exp/dnn_seed$seed"); done
  dkt report --out exp/report "${systems[@]}"
  echo "=== $0: done in $(stages_elapsed) s"
fi
