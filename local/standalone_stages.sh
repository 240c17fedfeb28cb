#!/usr/bin/env bash
# Stages 2 to 11 of a stand-alone recipe, from features to the table; sourced by run.sh after stages.sh. The recipe
# sets data, exp, report, nj, train_cmd, decode_cmd, totgauss, boost_silence, seeds, dnn_config, network_features (fbank
# or mfcc), students (as local/train_student.sh names them; none for no students), lstm_config, beam, max_active, lmwts
# and word_ins_penalties, and has prepared data/{train,dev,test} and data/lang.

steps=$DKT_ROOT/steps
network_features=${network_features:-fbank}
students=${students:-}
# Those that the students are trained at: lstm-soft-T2 gives 2.
temperatures=$(tr ' ' '\n' <<<"$students" | sed -n 's/.*-T//p' | sort -u | xargs)
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

if [ -n "$temperatures" ] && begin_stage 8 "soft targets" <(echo "$seeds $temperatures"); then
  for seed in $seeds; do
    for part in train dev; do
      "$steps/make_soft_targets.sh" --nj "$nj" --cmd "$train_cmd" --temperatures "$temperatures" \
        "$data/${part}_$network_features" "$exp/dnn_seed$seed" "$exp/dnn_seed$seed/soft_$part"
    done
  done
  end_stage
fi

# train_students pattern: those whose name matches, nj at a time; a small network gains little from more processors.
train_students() {
  local system seed
  for seed in $seeds; do
    for system in $students; do
      # shellcheck disable=SC2254
      case $system in
        $1)
          claim_dir "$exp/${system}_seed$seed" "$lstm_config" >&2
          echo "$system $seed"
          ;;
      esac
    done
  done | xargs -r -P "$nj" -L 1 "$DKT_ROOT/local/train_student.sh" --cmd "$train_cmd" --lstm-config "$lstm_config" \
    "$data/train_$network_features" "$data/dev_$network_features" "$data/lang" "$exp"
}

if [ -n "$students" ] && begin_stage 9 "students: $students" "$lstm_config" <(echo "$seeds $students"); then
  train_students 'lstm-[!p]*'
  train_students 'lstm-pretrain-*'
  end_stage
fi

if [ -n "$students" ] && begin_stage --leaf 10 "search with the students" <(echo "$seeds $students $scan"); then
  for seed in $seeds; do
    for system in $students; do search "$network_features" "$exp/${system}_seed$seed"; done
  done
  end_stage
fi

if [ "$stop_stage" -ge 11 ]; then
  echo "=== stage 11: report [$(stages_elapsed) s]"
  systems=("gmm=$exp/mono")
  for system in dnn $students; do
    for seed in $seeds; do systems+=("$system=$exp/${system}_seed$seed"); done
  done
  dkt report --out "$report" "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
