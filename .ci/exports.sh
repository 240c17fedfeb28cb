#!/usr/bin/env bash
# Networks of the digits recipe leave in every format and come back; with vosk, vosk recognises what dkt recognises:
# exports.sh <data> <exp> [vosk].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DKT_ROOT=$PWD
data=$(realpath "$1")
exp=$(realpath "$2")
recipe=egs/digits/s5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

student=$exp/lstm-pretrain-T2_seed777
for model in "$exp/dnn_seed777" "$student"; do
  for format in nnet1 nnet3 onnx; do
    dkt export --format $format --data "$data/dev_fbank" "$model" "$work/$format/${model##*/}"
  done
done
exported=$work/nnet1/${student##*/}
dkt import --format nnet1 --data "$data/dev_fbank" "$exported" "$work/imported"
dkt export --format nnet1 --data "$data/dev_fbank" "$work/imported" "$work/again"
cmp "$exported/final.nnet" "$work/again/final.nnet"
[ "${3:-}" = vosk ] || exit 0

# Vosk knows no speakers: a network of features without CMVN.
utterances=50
search=(--beam 13 --lattice-beam 4 --max-active 2000)
sed -e 's/cmvn_opts: .*/cmvn_opts: null/' -e 's/max_iters: 10/max_iters: 6/' $recipe/conf/lstm.yaml >"$work/plain.yaml"
plain=$work/plain
steps/train_lstm.sh --lstm-config "$work/plain.yaml" "$data/train_fbank" "$data/dev_fbank" "$data/lang" \
  "$exp/mono_ali_train" "$exp/mono_ali_dev" "$plain"
steps/decode.sh --nj 2 --acwt 0.25 "${search[@]}" --scoring-opts "--min-lmwt 4 --max-lmwt 4" \
  "$exp/mono/graph" "$data/test_fbank" "$plain/decode_test"
dkt export --format vosk --graph "$exp/mono/graph" --fbank-config $recipe/conf/fbank.conf --lmwt 4 "${search[@]}" \
  "$plain" "$work/vosk"
# Its recordings have names relative to the recipe.
(cd $recipe && python "$DKT_ROOT/.ci/vosk_words.py" "$work/vosk" "$data/test_fbank" $utterances "$work/vosk_best" "$work/vosk_mbr")

# first <file>: its lines of the utterances that vosk heard.
first() { awk 'NR == FNR { wanted[$1]; next } $1 in wanted' "$work/vosk_best" "$1"; }
first "$plain/decode_test/scoring_kaldi/penalty_0.0/4.txt" >"$work/dkt"
first "$data/test_fbank/text" >"$work/spoken"
for words in dkt vosk_best vosk_mbr; do
  echo "WER of $words: $(dkt compute-wer "ark:$work/spoken" "ark:$work/$words" | head -n 1)"
done
for words in vosk_best vosk_mbr; do
  differing=$(dkt compute-wer "ark:$work/dkt" "ark:$work/$words" | awk '/^%WER/ { print $2 }')
  echo "$words differs from dkt's words by $differing %"
  awk -v x="$differing" 'BEGIN { exit !(x <= 5) }' || { echo "exports.sh: expected 5 % at most" >&2; exit 1; }
done
