#!/usr/bin/env bash
# speechocean762 (English read by Mandarin speakers, half of them children), from audio to word error rates
# without Kaldi. Run it again and it goes on where it stopped.
set -euo pipefail
recipe=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../../../steps/lib/signals.sh"
. "$recipe/cmd.sh"

corpus_dir=
data=
exp=
nj=2
stage=
stop_stage=11
seeds="777"
totgauss=2000
boost_silence=1.25
dnn_config=
students=
lstm_config=
small_config=
network_features=fmllr
speeds="0.8 0.9 1.1 1.2"
noise_copies=
beam=11.0
max_active=2000
lmwts="5 6 7 8 10 12"
word_ins_penalties="0.0"
steal_lock=false
help_message="Usage: ./run.sh --corpus-dir <dir> [options]
  --corpus-dir <dir>    speechocean762 as it is published (OpenSLR 101), or with dev, lexicon.txt and lm_train.txt
  --data <dir>, --exp <dir>   where data and experiments go (data, exp); the report goes to <exp>/report
  --nj <n>              jobs in parallel (2)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (11)
  --seeds <list>        train a network with each of these seeds (777)
  --totgauss, --boost-silence   of the GMM (alignments on adapted features are not boosted)
  --dnn-config <yaml>   the DNN (conf/dnn.yaml)
  --students <list>     lstm-hard, lstm-soft-T<T>, lstm-pretrain-T<T> and others: see local/students.sh
  --lstm-config <yaml>  the students (conf/lstm.yaml)
  --small-config <yaml> networks that are named small (none)
  --network-features <kind>   fbank, mfcc, or fmllr: MFCC adapted to each speaker by the GMM (fmllr);
                        the others need --dnn-config
  --speeds <list>       networks are also trained on copies at these speeds (0.8 0.9 1.1 1.2; empty for none)
  --noise-copies <snrs> and on copies of all that with noise at these ratios in dB, as 20:10:5 or 0..20 (none)
  --beam, --max-active, --lmwts, --word-ins-penalties   of the decoding; dev, at each of the last two
  --steal-lock <bool>   take <exp> from another process: one of another host that is dead (false)"
. "$recipe/../../../steps/utils/parse_options.sh"
. "$recipe/../../../local/stages.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
make_absolute corpus_dir data exp dnn_config lstm_config small_config
require_options f dnn_config lstm_config small_config
[ "${stage:-0}" -gt 0 ] || require_options d corpus_dir
cd "$recipe"
[ -n "$corpus_dir" ] || { echo "run.sh: --corpus-dir is missing" >&2; echo "$help_message" >&2; exit 1; }
. ./path.sh

data=${data:-data}
exp=${exp:-exp}
report=$exp/report
if [ "$network_features" != fmllr ] && [ -z "$dnn_config" ]; then
  echo "run.sh: conf/dnn.yaml is for adapted features: give --dnn-config with CMVN for $network_features" >&2
  exit 1
fi
dnn_config=${dnn_config:-conf/dnn.yaml}
lstm_config=${lstm_config:-conf/lstm.yaml}
stage_options="$corpus_dir $data $speeds${noise_copies:+ noise $noise_copies}"
check_recipe "$data" "$exp"

# first_stages: data and language model.
first_stages() {
  if begin_stage 0 "data and dictionary"; then
    python local/prepare_data.py "$corpus_dir" "$data"
    end_stage "$data"/{train,dev,test}/{wav.scp,text,utt2spk} "$data"/local/{dict/lexicon.txt,lm_train.txt}
  fi
  stage_lang 1 2
}

. "$DKT_ROOT/local/standalone_stages.sh"
