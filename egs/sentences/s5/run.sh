#!/usr/bin/env bash
# Synthetic English sentences with accents, from audio to word error rates: a monophone GMM aligns the speech, a DNN
# learns the alignment and teaches LSTMs, all are decoded with the same graph. Run it again and it goes on where it
# stopped.
set -euo pipefail
recipe=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../../../steps/lib/signals.sh"
. "$recipe/cmd.sh"

data=data
exp=exp
nj=2
stage=
stop_stage=11
seeds="777"
num_train=
num_dev=
num_test=
totgauss=1000
boost_silence=1.0
dnn_config=
students="lstm-hard lstm-soft-T2 lstm-pretrain-T2"
lstm_config=
hard_config=
small_config=
network_features=fbank
speeds=
noise_copies=
beam=11.0
max_active=1500
lattice_beam=6.0
lmwts="4 6 8 10 14"
word_ins_penalties="0.0 1.0 2.0"
steal_lock=false
help_message="Usage: ./run.sh [options]
  --data <dir>          where the data go (data)
  --exp <dir>           where the experiments go, with their report in report (exp)
  --nj <n>              jobs in parallel (2)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (11)
  --seeds <list>        train a network with each of these seeds (777)
  --num-train <n>       utterances; also --num-dev, --num-test (450, 240, 240)
  --dnn-config <yaml>   the DNN (conf/dnn.yaml)
  --students <list>     lstm-hard, lstm-soft-T<T>, lstm-pretrain-T<T> and others: see local/students.sh
  --lstm-config <yaml>  the students (conf/lstm.yaml)
  --hard-config <yaml>  LSTMs that learn labels alone from fresh weights: lstm-hard, lstm-smooth (conf/lstm_hard.yaml,
                        or --lstm-config if that is given)
  --small-config <yaml> networks that are named small (none)
  --network-features <kind>   fbank or mfcc (fbank)
  --speeds <list>       the networks are also trained on copies at these speeds, as 0.9 1.1 (none)
  --noise-copies <snrs> and on copies of all that with noise at these ratios in dB, as 20:10:5 or 0..20 (none)
  --totgauss, --boost-silence   of the GMM
  --beam, --max-active, --lattice-beam   of the decoding
  --lmwts, --word-ins-penalties          and of the scoring of dev, which is done at each of them
  --steal-lock <bool>   take <exp> from another process: one of another host that is dead (false)"
. "$recipe/../../../steps/utils/parse_options.sh"
. "$recipe/../../../local/stages.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
make_absolute data exp dnn_config lstm_config hard_config small_config
require_options f dnn_config lstm_config hard_config small_config
cd "$recipe"
. ./path.sh

report=$exp/report
dnn_config=${dnn_config:-conf/dnn.yaml}
[ -n "$hard_config$lstm_config" ] || hard_config=conf/lstm_hard.yaml
lstm_config=${lstm_config:-conf/lstm.yaml}
lattices=true
stage_options="sentences $data $num_train $num_dev $num_test${speeds:+ $speeds}${noise_copies:+ noise $noise_copies}"
check_recipe "$data" "$exp"

# first_stages: data and language model.
first_stages() {
  local sizes
  if begin_stage 0 "corpus (sentences)"; then
    sizes=(${num_train:+--num-train "$num_train"} ${num_dev:+--num-dev "$num_dev"} ${num_test:+--num-test "$num_test"})
    python local/prepare_sentences.py --nj "$nj" ${sizes[@]+"${sizes[@]}"} "$data"
    end_stage "$data"/{train,dev,test}/{wav.scp,text,utt2spk} "$data"/local/{dict/lexicon.txt,lm_train.txt}
  fi
  stage_lang 1 2
}

. "$DKT_ROOT/local/standalone_stages.sh"
