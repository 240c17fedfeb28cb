#!/usr/bin/env bash
# Makes a lang directory from a dictionary directory, and G.fst from text, as Kaldi's utils/prepare_lang.sh
# and format_lm.sh do with a language model of their own.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
set -euo pipefail

stage=1
cmd=run.pl
position_dependent_phones=true
sil_prob=0.5
order=2
smoothing=kneser-ney
dev_text=
help_message="Usage: steps/prepare_lang.sh [options] <dict-dir> <oov-word> <lm-text> <lang-dir>
 e.g.: steps/prepare_lang.sh --order 2 data/local/dict '<UNK>' data/local/lm_train.txt data/lang
options:
  --stage <n>                         1: lexicon, 2: language model, 3: G.fst (1)
  --cmd <cmd>                         how to run the jobs (run.pl)
  --position-dependent-phones <bool>  mark phones by their place in the word (true)
  --sil-prob <p>                      probability of silence between words (0.5)
  --order <n>                         of the n-gram model, 1 to 3 (2)
  --smoothing <name>                  kneser-ney or witten-bell (kneser-ney)
  --dev-text <file>                   'text' of a data directory to report the perplexity of"
word_arguments="2"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 4 ] || usage
dict=$1
oov=$2
text=$3
lang=$4
logdir=$lang/log
check_runner "$logdir"

require_files "$dict/lexicon.txt" "$text"
hold_directory "$lang"
mark=$lang/.prepare_lang.done
depends_on "position_dependent_phones sil_prob order smoothing oov" "$dict" "$text" "$dev_text"
if [ "$stage" -le 1 ] && already_done "$mark" "$lang"/{L.fst,G.fst} "$lang"/{L_disambig.fst,lm.arpa.gz} \
  "$lang"/{words.txt,phones.txt,topo,oov.txt,oov.int,phones}; then exit 0; fi
# Stages are done again with other options than those of the mark.
forget_done "$mark"
make_dir "$logdir"

if [ "$stage" -le 1 ]; then
  run_job_or_die "$logdir/prepare_lang.log" dkt prepare-lang --position-dependent-phones="$position_dependent_phones" \
    --sil-prob="$sil_prob" "$dict" "$oov" "$lang"
fi
if [ "$stage" -le 2 ]; then
  dev=()
  [ -z "$dev_text" ] || dev=(--dev="$dev_text" --dev-utt-ids=true)
  run_job_or_die "$logdir/train_lm.log" dkt train-lm --order="$order" --smoothing="$smoothing" --words="$lang/words.txt" \
    --exclude-words="$oov" ${dev[@]+"${dev[@]}"} "$text" "$lang/lm.arpa.gz"
fi
if [ "$stage" -le 3 ]; then
  require_files "$lang/lm.arpa.gz"
  run_job_or_die "$logdir/format_lm.log" dkt format-lm "$lang" "$lang/lm.arpa.gz" "$lang"
fi
require_files "$lang/L.fst" "$lang/G.fst"
[ "$stage" -gt 1 ] || mark_done
perplexity=$(sed -n 's/.*ppl= *\([^ ]*\).*/\1/p' "$logdir/train_lm.log" 2>/dev/null | head -n 1) || true
oovs=$(sed -n 's/.* \([0-9]*\) OOVs.*/, \1 words outside the vocabulary/p' "$logdir/train_lm.log" 2>/dev/null) || true
[ -z "$perplexity" ] || echo "$script_name: perplexity $perplexity on ${dev_text:-the text of --dev-text}$oovs"
echo "$script_name: lexicon and grammar in $lang, logs in $logdir"
