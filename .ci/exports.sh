#!/usr/bin/env bash
# Networks of the digits recipe on real speech leave in every format and come back, and vosk recognises what dkt
# recognises: exports.sh <data> <exp>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DKT_ROOT=$PWD
data=$1
exp=$2
recipe=egs/digits/s5
utterances=50

student=$exp/lstm-pretrain-T2_seed777
for model in "$exp/dnn_seed777" "$student"; do
  for format in nnet1 nnet3 onnx; do
    dkt export --format $format "$model" "$exp/exported/$format/${model##*/}"
  done
done
dkt import --format nnet1 --data "$data/dev_fbank" "$exp/exported/nnet1/${student##*/}" "$exp/imported"
dkt export --format nnet1 --data "$data/dev_fbank" "$exp/imported" "$exp/exported/again"
cmp "$exp/exported/nnet1/${student##*/}/final.nnet" "$exp/exported/again/final.nnet"

# Vosk knows no speakers: a network of features without CMVN.
sed -e 's/cmvn_opts: .*/cmvn_opts: null/' -e 's/max_iters: 10/max_iters: 5/' $recipe/conf/lstm.yaml >"$exp/plain.yaml"
steps/train_lstm.sh --lstm-config "$exp/plain.yaml" "$data/train_fbank" "$data/dev_fbank" "$data/lang" \
  "$exp/mono_ali_train" "$exp/mono_ali_dev" "$exp/plain"
head -n $utterances "$data/test_fbank/wav.scp" | awk '{ print $1 }' >"$exp/utts"
steps/decode.sh --nj 2 --acwt 0.1 --beam 11 --lattice-beam 4 --max-active 2000 "$exp/mono/graph" "$data/test_fbank" "$exp/plain/decode_test"
dkt export --format vosk --graph "$exp/mono/graph" --fbank-config $recipe/conf/fbank.conf --lmwt 10 \
  --beam 11 --lattice-beam 4 --max-active 2000 \
  "$exp/plain" "$exp/exported/vosk"
python .ci/vosk_words.py "$exp/exported/vosk" "$data/test_fbank" $utterances "$exp/vosk_best" "$exp/vosk_mbr"

# share_same <file>: percent of dkt's words that vosk has too.
reference=$exp/dkt_words
awk 'NR == FNR { wanted[$1]; next } $1 in wanted' "$exp/utts" \
  "$exp/plain/decode_test/scoring_kaldi/penalty_0.0/10.txt" >"$reference"
awk 'NR == FNR { wanted[$1]; next } $1 in wanted' "$exp/utts" "$data/test_fbank/text" >"$exp/spoken"
for words in "$reference" "$exp/vosk_best" "$exp/vosk_mbr"; do
  echo "WER of ${words##*/}: $(dkt compute-wer --mode=present "ark:$exp/spoken" "ark:$words" | head -n 1)"
done
for words in "$exp/vosk_best" "$exp/vosk_mbr"; do
  differing=$(dkt compute-wer --mode=all "ark:$reference" "ark:$words" | awk '/^%WER/ { print $2 }')
  echo "${words##*/} differs from dkt's words by $differing %"
  awk -v x="$differing" 'BEGIN { exit !(x <= 5) }' || { echo "exports.sh: expected 5 % at most" >&2; exit 1; }
done
