#!/usr/bin/env bash
# Makes a lang directory from a dictionary directory, and G.fst from text, as Kaldi's utils/prepare_lang.sh
# and format_lm.sh do with a language model of their own.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

position_dependent_phones=true
sil_prob=0.5
order=2
smoothing=kneser-ney
dev_text=
help_message="Usage: steps/prepare_lang.sh [options] <dict-dir> <oov-word> <lm-text> <lang-dir>
 e.g.: steps/prepare_lang.sh --order 2 data/local/dict '<UNK>' data/local/lm_train.txt data/lang
options:
  --position-dependent-phones <bool>  mark phones by their place in the word (true)
  --sil-prob <p>                      probability of silence between words (0.5)
  --order <n>                         of the n-gram model, 1 to 3 (2)
  --smoothing <name>                  kneser-ney or witten-bell (kneser-ney)
  --dev-text <file>                   'text' of a data directory to report the perplexity of"
. parse_options.sh

if [ $# != 4 ]; then
  echo "$help_message" >&2
  exit 1
fi
dict=$1
oov=$2
text=$3
lang=$4

require_files "$dict/lexicon.txt" "$text"
dev=()
[ -n "$dev_text" ] && dev=(--dev="$dev_text" --dev-utt-ids=true)
run_logged "$lang/log/prepare_lang.log" \
  dkt prepare-lang --position-dependent-phones="$position_dependent_phones" --sil-prob="$sil_prob" \
  "$dict" "$oov" "$lang"
run_logged "$lang/log/train_lm.log" \
  dkt train-lm --order="$order" --smoothing="$smoothing" --words="$lang/words.txt" --exclude-words="$oov" \
  ${dev[@]+"${dev[@]}"} "$text" "$lang/lm.arpa.gz"
run_logged "$lang/log/format_lm.log" dkt format-lm "$lang" "$lang/lm.arpa.gz" "$lang"
grep -i perplexity "$lang/log/train_lm.log" | sed "s|^[A-Z]* ([^)]*)|$0:|" || true
echo "$0: lexicon and grammar in $lang, logs in $lang/log"
