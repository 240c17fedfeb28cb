#!/usr/bin/env bash
# Stages 2 to 11 of a stand-alone recipe, from features to the table; sourced by run.sh after stages.sh. The stages
# before them stand in the recipe's function first_stages, which prepares data/{train,dev,test} and data/lang: it is
# called when all options have been looked at. The recipe sets data, exp, report, nj, train_cmd, decode_cmd, totgauss,
# boost_silence, seeds, dnn_config, network_features (fbank, mfcc or fmllr), speeds (of copies of the training data
# for the network; none unless set), noise_copies (signal-to-noise ratios of noisy copies of all that, as of
# steps/augment_data_dir.sh; none unless set), students (as local/train_student.sh names them; none for no students),
# lstm_config, beam, max_active, lmwts and word_ins_penalties; and lattices=true with lattice_beam to decode once, for
# lattices that are scored at all LM weights and penalties, where decoding anew at each of them would be slow.
# shellcheck disable=SC2154 # variables of the recipe

network_features=${network_features:-fbank}
case $network_features in
  fbank | mfcc | fmllr) ;;
  *) die "--network-features is '$network_features', expected fbank, mfcc or fmllr" ;;
esac
lattices=${lattices:-false}
check_decoding totgauss boost_silence
speeds=${speeds:-}
noise_copies=${noise_copies:-}
[ -z "$speeds" ] || require_values speeds
students=${students:-}
clean_part=train${speeds:+_sp} # that is aligned
train_part=$clean_part${noise_copies:+_noise} # that the network is trained on
network_train=$data/${train_part}_$network_features
network_dev=$data/dev_$network_features
lang=$data/lang
ali=mono_ali
align_options=$network_features
if [ "$network_features" = fmllr ]; then
  ali=mono_fmllr_ali
  align_options+=" $beam $max_active" # of the decoding that transforms come from
fi
ali_train=$exp/${ali}_$train_part
ali_dev=$exp/${ali}_dev
. "$DKT_ROOT/local/network_stages.sh"

# check_copies: stops at speeds and ratios that copies of the training data cannot have.
check_copies() {
  local speed ratio='-?[0-9]+([.][0-9]+)?'
  for speed in $speeds; do
    if ! [[ $speed =~ ^[0-9]+([.][0-9]+)?$ ]] || ! awk -v x="$speed" 'BEGIN { exit !(x >= 0.5 && x <= 2) }'; then
      die "--speeds holds '$speed', expected decimal numbers from 0.5 to 2"
    fi
    awk -v x="$speed" 'BEGIN { exit x == 1 }' ||
      die "--speeds holds '$speed', the speed of the originals, which are there in any case"
  done
  # shellcheck disable=SC2046
  _refuse_twice "--speeds: a speed, however it is written:" $(tr ' ' '\n' <<<"$speeds" | awk 'NF { print $1 + 0 }')
  [ -z "$noise_copies" ] || [[ $noise_copies =~ ^${ratio}(:${ratio})*$ || $noise_copies =~ ^${ratio}[.][.]${ratio}$ ]] ||
    die "--noise-copies is '$noise_copies', expected signal-to-noise ratios in dB: 20:10:5, or a range, 0..20"
}

check_copies
grid="$beam $max_active $lmwts / $word_ins_penalties"
search=(--beam "$beam" --max-active "$max_active" --lmwts "$lmwts" --word-ins-penalties "$word_ins_penalties")
if "$lattices"; then
  require_values lattice_beam
  grid+=" lattices $lattice_beam"
  search+=(--lattices true --lattice-beam "$lattice_beam")
fi

# stage_lang n order: the lang directory of $data/local/dict, with a language model of $data/local/lm_train.txt.
stage_lang() {
  begin_stage "$1" "lang directory, $2-gram language model" || return 0
  "$steps/prepare_lang.sh" --order "$2" --dev-text "$data/dev/text" \
    "$data/local/dict" '<UNK>' "$data/local/lm_train.txt" "$lang"
  end_stage "$lang"/{L.fst,G.fst,L_disambig.fst,words.txt,phones.txt}
}

if declare -F first_stages >/dev/null; then first_stages; fi

# decode <features> <model-dir>: dev is decoded at all points of the grid, test at the best.
decode() {
  "$DKT_ROOT/local/decode_dev_then_test.sh" --nj "$nj" --cmd "$decode_cmd" "${search[@]}" \
    "$exp/mono/graph" "$data/dev_$1" "$data/test_$1" "$2"
}

# decode_results <model-dir>: what decode leaves.
decode_results() { printf '%s\n' "$1"/decode_{dev,test}/scoring_kaldi/best_wer; }

# adapt [option...] <part>: makes features under fMLLR transforms of the speakers.
adapt() {
  local part=${!#}
  "$steps/make_fmllr_feats.sh" --nj "$nj" --cmd "$train_cmd" --beam "$beam" --max-active "$max_active" \
    "${@:1:$#-1}" "$data/${part}_mfcc" "$exp/mono/graph" "$exp/mono" "$data/${part}_fmllr"
}

train_kinds=mfcc # of the copies at other speeds, for the GMM to align
[ "$network_features" != fbank ] || train_kinds="mfcc fbank"
if begin_stage 2 "features: MFCC and filterbanks" conf/mfcc.conf conf/fbank.conf <(echo "${speeds:+$train_kinds}"); then
  make_features=("$DKT_ROOT/local/make_feature_sets.sh" --nj "$nj" --cmd "$train_cmd")
  "${make_features[@]}" "$data" train dev test
  if [ -n "$speeds" ]; then
    "$steps/perturb_data_dir_speed.sh" --cmd "$train_cmd" --factors "$speeds" "$data/train" "$data/$clean_part"
    "${make_features[@]}" --kinds "$train_kinds" "$data" "$clean_part"
  fi
  if [ -n "$noise_copies" ]; then
    "$steps/augment_data_dir.sh" --cmd "$train_cmd" --utt-prefix noise --include-original true \
      --bg-noise-types white:pink:babble --bg-snrs "$noise_copies" "$data/$clean_part" "$data/$train_part"
    "${make_features[@]}" --kinds "$train_kinds" "$data" "$train_part"
  fi
  end_stage "$data"/{train,dev,test,"$train_part"}_{mfcc,fbank}/{feats,cmvn}.scp
fi

if begin_stage 3 "monophone GMM and graph" <(echo "$totgauss $boost_silence"); then
  if [ -e "$exp/mono/phones.txt" ] && ! cmp -s "$lang/phones.txt" "$exp/mono/phones.txt"; then
    set_aside "$exp/mono"
  fi
  "$steps/train_mono.sh" --nj "$nj" --cmd "$train_cmd" --totgauss "$totgauss" --boost-silence "$boost_silence" \
    "$data/train_mfcc" "$lang" "$exp/mono"
  "$steps/mkgraph.sh" --cmd "$train_cmd" "$lang" "$exp/mono" "$exp/mono/graph"
  end_stage "$exp"/mono/{final.mdl,tree,phones.txt,graph/{HCLG.fst,words.txt}}
fi

if begin_stage --leaf 4 "decode with the GMM" <(echo "$grid"); then
  decode mfcc "$exp/mono"
  mapfile -t results < <(decode_results "$exp/mono")
  end_stage "${results[@]}"
fi

# copy_alignments <ali>: what noisy copies are trained on, the alignments of clean speech.
copy_alignments() {
  [ "$train_part" = "$clean_part" ] || "$steps/copy_ali_dir.sh" --nj "$nj" --cmd "$train_cmd" --prefixes noise \
    "$data/${train_part}_mfcc" "$exp/$1_$clean_part" "$exp/$1_$train_part"
}

if begin_stage 5 "alignments and features for the network" <(echo "$align_options"); then
  for part in "$clean_part" dev; do
    "$steps/align_si.sh" --nj "$nj" --cmd "$train_cmd" --boost-silence "$boost_silence" \
      "$data/${part}_mfcc" "$lang" "$exp/mono" "$exp/mono_ali_$part"
  done
  copy_alignments mono_ali
  if [ "$network_features" = fmllr ]; then
    adapt --ali-dir "$exp/mono_ali_$clean_part" "$clean_part"
    [ "$train_part" = "$clean_part" ] || adapt --ali-dir "$exp/mono_ali_$train_part" "$train_part"
    adapt dev # and test as a recogniser has to: from what a first decoding finds
    adapt test
    for part in "$clean_part" dev; do
      "$steps/align.sh" --nj "$nj" --cmd "$train_cmd" \
        "$data/${part}_fmllr" "$lang" "$exp/mono" "$exp/mono_fmllr_ali_$part"
    done
    copy_alignments mono_fmllr_ali
  fi
  end_stage "$exp"/mono{,_fmllr}_ali_{"$train_part",dev}/{final.mdl,num_jobs,ali.*.gz} \
    "$data"/{"$train_part",dev,test}_fmllr/feats.scp
fi

stage_teachers 6

mapfile -t networks < <(network_files dnn)
if begin_stage --leaf 7 "decode with the DNN" <(echo "$seeds $grid") "${networks[@]}"; then
  results=()
  for seed in $seeds; do
    decode "$network_features" "$exp/dnn_seed$seed"
    mapfile -t -O ${#results[@]} results < <(decode_results "$exp/dnn_seed$seed")
  done
  end_stage "${results[@]}"
fi

stage_soft_targets 8

stage_students 9

# shellcheck disable=SC2086 # a list
mapfile -t networks < <(network_files $students)
if [ -n "$students" ] &&
  begin_stage --leaf 10 "decode with the students" <(echo "$seeds $students $grid") "${networks[@]}"; then
  results=()
  for seed in $seeds; do
    for system in $students; do
      decode "$network_features" "$exp/${system}_seed$seed"
      mapfile -t -O ${#results[@]} results < <(decode_results "$exp/${system}_seed$seed")
    done
  done
  end_stage "${results[@]}"
fi

if [ "$stop_stage" -ge 11 ]; then
  echo "=== stage 11: report [$(stages_elapsed) s]"
  mapfile -t systems < <(network_systems)
  dkt report --out "$report" "gmm=$exp/mono" "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
