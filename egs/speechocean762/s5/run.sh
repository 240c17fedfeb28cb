#!/usr/bin/env bash
# speechocean762 (English read by Mandarin speakers, half of them children), from audio to word error rates
# without Kaldi. Run it again and it goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./cmd.sh

corpus_dir=
data=data
exp=exp
nj=2
stage=
stop_stage=8
seeds="777"
totgauss=2000
boost_silence=1.25
dnn_config=conf/dnn.yaml
beam=11.0
max_active=2000
lmwts="6 8 10 12 15 18"
word_ins_penalties="0.0 1.0"
help_message="Usage: ./run.sh --corpus-dir <dir> [options]
  --corpus-dir <dir>    speechocean762, with train, dev, test, lexicon.txt and lm_train.txt
  --data <dir>, --exp <dir>   where data and experiments go (data, exp)
  --nj <n>              jobs in parallel (2)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (8)
  --seeds <list>        train a network with each of these seeds (777)
  --totgauss, --boost-silence   of the GMM
  --dnn-config <yaml>   the DNN (conf/dnn.yaml)
  --beam, --max-active, --lmwts, --word-ins-penalties   of the search; the last two are scanned on dev"
dkt_root=$(cd ../../.. && pwd)
. "$dkt_root/steps/utils/parse_options.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
[ -n "$corpus_dir" ] || { echo "$0: --corpus-dir is missing" >&2; echo "$help_message" >&2; exit 1; }
. ./path.sh

stage_options="$corpus_dir"
. "$DKT_ROOT/local/stages.sh"

if begin_stage 0 "data and dictionary"; then
  python local/prepare_data.py "$corpus_dir" "$data"
  end_stage
fi

if begin_stage 1 "lang directory, bigram language model"; then
  "$DKT_ROOT/steps/prepare_lang.sh" --order 2 --dev-text "$data/dev/text" \
    "$data/local/dict" '<UNK>' "$data/local/lm_train.txt" "$data/lang"
  end_stage
fi

. "$DKT_ROOT/local/standalone_stages.sh"
