#!/usr/bin/env bash
# Stages 2 to 8 of a stand-alone recipe, from features to the table; sourced by run.sh after stages.sh. The recipe
# sets data, exp, report, nj, train_cmd, decode_cmd, totgauss, boost_silence, seeds, dnn_config, network_features (fbank
# or mfcc), beam, max_active, lmwts and word_ins_penalties, and has prepared data/{train,dev,test} and data/lang.

steps=$DKT_ROOT/steps
network_features=${network_features:-fbank}
scan="$beam $max_active $lmwts / $word_ins_penalties"

# search <features> <model-dir>: dev is scanned, test searched at the best point.
search() {
  "$DKT_ROOT/local/decode_dev_then_test.sh" --nj "$nj" --cmd "$decode_cmd" --beam "$beam" \
    --max-active "$max_active" --lmwts "$lmwts" --word-ins-penalties "$word_ins_penalties" \
    "$exp/mono/graph" "$data/dev_$1" "$data/test_$1" "$2"
}

if begin_stage 2 "features: MFCC and filterbanks" conf/mfcc.conf conf/fbank.conf; then
  "$DKT_ROOT/local/make_feature_sets.sh" --nj "$nj" --cmd "$train_cmd" "$data" train dev test
  end_stage
fi

if begin_stage 3 "monophone GMM and graph" <(echo "$totgauss $boost_silence"); then
  if [ -e "$exp/mono/phones.txt" ] && ! cmp -s "$data/lang/phones.txt" "$exp/mono/phones.txt"; then
    set_aside "$exp/mono"
  fi
  "$steps/train_mono.sh" --nj "$nj" --cmd "$train_cmd" --totgauss "$totgauss" --boost-silence "$boost_silence" \
    "$data/train_mfcc" "$data/lang" "$exp/mono"
  "$steps/mkgraph.sh" --cmd "$train_cmd" "$data/lang" "$exp/mono" "$exp/mono/graph"
  end_stage
fi

if begin_stage --leaf 4 "search with the GMM" <(echo "$scan"); then
  search mfcc "$exp/mono"
  end_stage
fi

if begin_stage 5 "alignments for the network"; then
  for part in train dev; do
    "$steps/align_si.sh" --nj "$nj" --cmd "$train_cmd" --boost-silence "$boost_silence" \
      "$data/${part}_mfcc" "$data/lang" "$exp/mono" "$exp/mono_ali_$part"
  done
  end_stage
fi

if begin_stage 6 "DNN" "$dnn_config" <(echo "$seeds $network_features"); then
  for seed in $seeds; do
    claim_dir "$exp/dnn_seed$seed" "$dnn_config"
    "$steps/train_dnn.sh" --cmd "$train_cmd" --dnn-config "$dnn_config" --seed "$seed" \
      "$data/train_$network_features" "$data/dev_$network_features" "$data/lang" "$exp/mono_ali_train" "$exp/mono_ali_dev" "$exp/dnn_seed$seed"
  done
  end_stage
fi

if begin_stage --leaf 7 "search with the DNN" "$dnn_config" <(echo "$seeds $scan"); then
  for seed in $seeds; do search "$network_features" "$exp/dnn_seed$seed"; done
  end_stage
fi

if [ "$stop_stage" -ge 8 ]; then
  echo "=== stage 8: report [$(stages_elapsed) s]"
  systems=("gmm=$exp/mono")
  for seed in $seeds; do systems+=("dnn=$exp/dnn_seed$seed"); done
  dkt report --out "$report" "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
