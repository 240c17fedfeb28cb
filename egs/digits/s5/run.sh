#!/usr/bin/env bash
# Connected digits, from audio to word error rates: a monophone GMM aligns the speech, a DNN learns the
# alignment and teaches LSTMs, all are decoded with the same graph. Run it again and it goes on where it stopped.
set -euo pipefail
recipe=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../../../steps/lib/signals.sh"
. "$recipe/cmd.sh"

corpus=espeak
corpus_dir=
data=
exp=
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
students="lstm-hard lstm-soft-T1 lstm-soft-T2 lstm-pretrain-T1 lstm-pretrain-T2"
lstm_config=
small_config=
network_features=fbank
speeds=
noise_copies=
beam=13.0
max_active=7000
lmwts=
word_ins_penalties="0.0 1.0 2.0"
steal_lock=false
help_message="Usage: ./run.sh [options]
  --corpus <name>       espeak: synthetic digits in noise, made here without any download (default)
                        fsdd: real digits, with --corpus-dir the folder of the Free Spoken Digit Dataset
  --data <dir>          where the data go (data/<corpus>)
  --exp <dir>           where the experiments and their report go (exp/<corpus>, the report in exp/report)
  --nj <n>              jobs in parallel (2)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (11)
  --seeds <list>        train a network with each of these seeds (777)
  --num-train <n>       utterances; also --num-dev, --num-test (as the corpus has them)
  --dnn-config <yaml>   the DNN (conf/dnn.yaml)
  --students <list>     lstm-hard, lstm-soft-T<T>, lstm-pretrain-T<T> and others: see local/students.sh
  --lstm-config <yaml>  the students (conf/lstm.yaml, for espeak conf/lstm_espeak.yaml)
  --small-config <yaml> networks that are named small (none)
  --network-features <kind>   fbank or mfcc (fbank)
  --speeds <list>       the networks are also trained on copies at these speeds, as 0.9 1.1 (none)
  --noise-copies <snrs> and on copies of all that with noise at these ratios in dB, as 20:10:5 or 0..20 (none)
  --totgauss, --boost-silence   of the GMM
  --beam, --max-active, --lmwts, --word-ins-penalties   of the decoding; dev, at each of the last two
  --steal-lock <bool>   take <exp> from another process: one of another host that is dead (false)"
. "$recipe/../../../steps/utils/parse_options.sh"
. "$recipe/../../../local/stages.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
make_absolute corpus_dir data exp dnn_config lstm_config small_config
require_options f dnn_config lstm_config small_config
[ "${stage:-0}" -gt 0 ] || require_options d corpus_dir
cd "$recipe"
case $corpus in
  espeak) dkt_extras=standalone,report,synthetic ;;
  fsdd) [ -n "$corpus_dir" ] || { echo "run.sh: --corpus fsdd needs --corpus-dir" >&2; exit 1; } ;;
  *) echo "run.sh: no corpus '$corpus': espeak or fsdd" >&2; exit 1 ;;
esac
. ./path.sh

report=${exp:-exp}/report
data=${data:-data/$corpus}
exp=${exp:-exp/$corpus}
dnn_config=${dnn_config:-conf/dnn.yaml}
if [ "$corpus" = espeak ]; then
  lstm_config=${lstm_config:-conf/lstm_espeak.yaml}
  lmwts=${lmwts:-1 2 3 4 5 7 10 15}
fi
lstm_config=${lstm_config:-conf/lstm.yaml}
lmwts=${lmwts:-10 15 20 25 30 40 50}
stage_options="$corpus $corpus_dir $data $num_train $num_dev $num_test${speeds:+ $speeds}${noise_copies:+ noise $noise_copies}"
check_recipe "$data" "$exp"

# first_stages: data and language model.
first_stages() {
  local sizes
  if begin_stage 0 "corpus ($corpus)"; then
    sizes=(${num_train:+--num-train "$num_train"} ${num_dev:+--num-dev "$num_dev"} ${num_test:+--num-test "$num_test"})
    if [ "$corpus" = fsdd ]; then
      python local/prepare_fsdd.py --corpus-dir "$corpus_dir" ${sizes[@]+"${sizes[@]}"} "$data"
    else
      python local/prepare_espeak.py --nj "$nj" ${sizes[@]+"${sizes[@]}"} "$data"
    fi
    end_stage "$data"/{train,dev,test}/{wav.scp,text,utt2spk} "$data"/local/{dict/lexicon.txt,lm_train.txt}
  fi
  stage_lang 1 1
}

. "$DKT_ROOT/local/standalone_stages.sh"
