#!/usr/bin/env bash
# Stages 2 to 11 of a stand-alone recipe, from features to the table; sourced by run.sh after stages.sh. The recipe
# sets data, exp, report, nj, train_cmd, decode_cmd, totgauss, boost_silence, seeds, dnn_config, network_features (fbank
# or mfcc), students (as local/train_student.sh names them; none for no students), lstm_config, beam, max_active, lmwts
# and word_ins_penalties, and has prepared data/{train,dev,test} and data/lang.

network_features=${network_features:-fbank}
students=${students:-}
network_train=$data/train_$network_features
network_dev=$data/dev_$network_features
lang=$data/lang
ali_train=$exp/mono_ali_train
ali_dev=$exp/mono_ali_dev
. "$DKT_ROOT/local/network_stages.sh"
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
  if [ -e "$exp/mono/phones.txt" ] && ! cmp -s "$lang/phones.txt" "$exp/mono/phones.txt"; then
    set_aside "$exp/mono"
  fi
  "$steps/train_mono.sh" --nj "$nj" --cmd "$train_cmd" --totgauss "$totgauss" --boost-silence "$boost_silence" \
    "$data/train_mfcc" "$lang" "$exp/mono"
  "$steps/mkgraph.sh" --cmd "$train_cmd" "$lang" "$exp/mono" "$exp/mono/graph"
  end_stage
fi

if begin_stage --leaf 4 "search with the GMM" <(echo "$scan"); then
  search mfcc "$exp/mono"
  end_stage
fi

if begin_stage 5 "alignments for the network"; then
  for part in train dev; do
    "$steps/align_si.sh" --nj "$nj" --cmd "$train_cmd" --boost-silence "$boost_silence" \
      "$data/${part}_mfcc" "$lang" "$exp/mono" "$exp/mono_ali_$part"
  done
  end_stage
fi

stage_teachers 6

if begin_stage --leaf 7 "search with the DNN" "$dnn_config" <(echo "$seeds $scan"); then
  for seed in $seeds; do search "$network_features" "$exp/dnn_seed$seed"; done
  end_stage
fi

stage_soft_targets 8

stage_students 9

if [ -n "$students" ] && begin_stage --leaf 10 "search with the students" <(echo "$seeds $students $scan"); then
  for seed in $seeds; do
    for system in $students; do search "$network_features" "$exp/${system}_seed$seed"; done
  done
  end_stage
fi

if [ "$stop_stage" -ge 11 ]; then
  echo "=== stage 11: report [$(stages_elapsed) s]"
  mapfile -t systems < <(network_systems)
  dkt report --out "$report" "gmm=$exp/mono" "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
