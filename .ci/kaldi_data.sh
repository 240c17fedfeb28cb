#!/usr/bin/env bash
# Teacher and students on what real Kaldi made of real speech, reduced: a quarter of the utterances, few epochs, a search
# of 25 utterances. Held against bounds that a broken step would violate; what was broken on purpose to see it, and
# what each gave, stands in check_results.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "${DKT_KALDI_FIXTURES:-}/exp" ] || { echo "kaldi_data.sh: DKT_KALDI_FIXTURES names no experiment of Kaldi's" >&2; exit 1; }

recipe=egs/speechocean762/s5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# copy_lists part name n: every n-th utterance of a part of the data. Lists only: splits of the data are written beside
# them, not into the experiment.
copy_lists() {
  local name
  mkdir "$work/$2"
  cp "$DKT_KALDI_FIXTURES/data/$1/cmvn.scp" "$work/$2"
  for name in feats.scp utt2spk text; do
    awk -v n="$3" 'NR % n == 0' "$DKT_KALDI_FIXTURES/data/$1/$name" >"$work/$2/$name"
  done
}
copy_lists train train 4
copy_lists dev dev 1
copy_lists dev tuning 8
copy_lists test test 16
for name in kaldi_dnn kaldi_lstm; do
  sed -e '/keep_lr_iters:/d' -e 's/max_iters:.*/max_iters: 3/' "$recipe/conf/$name.yaml" >"$work/$name.yaml"
done
"$recipe/run_kaldi.sh" --kaldi-dir "$DKT_KALDI_FIXTURES" --data-train "$work/train" \
  --data-dev "$work/dev" --exp "$work/exp" \
  --dnn-config "$work/kaldi_dnn.yaml" --lstm-config "$work/kaldi_lstm.yaml" \
  --students "lstm-hard lstm-soft-T2 lstm-pretrain-T2" \
  --data-tuning "$work/tuning" --data-test "$work/test" --searched "dnn lstm-pretrain-T2" \
  --beam 10 --max-active 1000 --lmwts "6 8 10 12" --word-ins-penalties "0.0 1.0" \
  --realign-by lstm-pretrain-T2 --retrain dnn
python .ci/check_results.py kaldi_reduced "$work/exp/report/results.csv"
cd "$DKT_KALDI_FIXTURES"
python "$OLDPWD/.ci/check_frames.py" "$work/train" exp/tri2b_ali "$work/dev" exp/tri2b_ali_dev "$work"/exp/{dnn,lstm-hard,lstm-soft-T2,lstm-pretrain-T2}_seed777
