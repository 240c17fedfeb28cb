#!/usr/bin/env bash
# Teacher and students on what real Kaldi made of real speech, reduced: a quarter of the utterances, few epochs. Held
# against bounds that a broken step would violate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "${DKT_KALDI_FIXTURES:-}/exp" ] || { echo "kaldi_data.sh: DKT_KALDI_FIXTURES names no experiment of Kaldi's" >&2; exit 1; }

recipe=egs/speechocean762/s5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Lists only: splits of the data are written beside them, not into the experiment.
for part in train dev; do
  mkdir "$work/$part"
  cp "$DKT_KALDI_FIXTURES/data/$part"/{feats.scp,cmvn.scp,utt2spk,text} "$work/$part"
done
for name in feats.scp utt2spk text; do
  awk 'NR % 4 == 0' "$DKT_KALDI_FIXTURES/data/train/$name" >"$work/train/$name"
done
for name in kaldi_dnn kaldi_lstm; do
  sed 's/max_iters:.*/max_iters: 3/' "$recipe/conf/$name.yaml" >"$work/$name.yaml"
done
"$recipe/run_kaldi.sh" --kaldi-dir "$DKT_KALDI_FIXTURES" --data-train "$work/train" \
  --data-dev "$work/dev" --exp "$work/exp" \
  --dnn-config "$work/kaldi_dnn.yaml" --lstm-config "$work/kaldi_lstm.yaml" \
  --students "lstm-hard lstm-soft-T2 lstm-pretrain-T2"
python .ci/check_results.py kaldi_reduced "$work/exp/report/results.csv"
