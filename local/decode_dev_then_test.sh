#!/usr/bin/env bash
# Decodes dev and test. LM weight and word insertion penalty are chosen on dev, and test is scored there.
. "$(dirname "${BASH_SOURCE[0]}")/../steps/lib/common.sh"
set -euo pipefail

nj=4
cmd=run.pl
lmwts="7 8 9 10 11 12 13 14 15 16 17"
word_ins_penalties="0.0 0.5 1.0"
beam=13.0
max_active=7000
min_active=200
class_frame_counts=
lattices=false
lattice_beam=8.0
acwt=
latgen=auto
decode_dev=decode_dev
decode_test=decode_test
help_message="Usage: local/decode_dev_then_test.sh [options] <graph-dir> <data-dev> <data-test> <model-dir>
 e.g.: local/decode_dev_then_test.sh exp/mono/graph data/dev data/test exp/dnn
options:
  --nj, --cmd, --lmwts, --word-ins-penalties, --beam, --max-active, --min-active, --class-frame-counts
                      as of steps/decode_scan.sh
  --lattices <bool>   decode once, for lattices, and score them, instead of decoding at every weight (false)
  --lattice-beam, --acwt, --latgen   then, as of steps/decode.sh
  --decode-dev, --decode-test <name>   the decode directories, within <model-dir> (decode_dev, decode_test)"
. "$DKT_ROOT/steps/lib/options.sh"

[ $# = 4 ] || usage
graph=$1
srcdir=$4
details=$srcdir/$decode_dev/scoring_kaldi/wer_details
search=(--nj "$nj" --cmd "$cmd" --beam "$beam" --max-active "$max_active" --min-active "$min_active"
  --class-frame-counts "$class_frame_counts")

# decode data decode-dir lmwts word-ins-penalties
decode() {
  if "$lattices"; then
    "$DKT_ROOT/steps/decode.sh" "${search[@]}" --lattice-beam "$lattice_beam" --acwt "$acwt" --latgen "$latgen" \
      --skip-scoring true "$graph" "$1" "$2"
    [ ! -e "$1/text" ] || "$DKT_ROOT/steps/score.sh" --cmd "$cmd" --lmwts "$3" --word-ins-penalties "$4" "$1" "$graph" "$2"
  else
    "$DKT_ROOT/steps/decode_scan.sh" "${search[@]}" --lmwts "$3" --word-ins-penalties "$4" "$graph" "$1" "$2"
  fi
}

decode "$2" "$srcdir/$decode_dev" "$lmwts" "$word_ins_penalties"
# Without them the scoring would choose on test. Within arguments a failure would not stop the script.
lmwt=$(cat "$details/lmwt")
wip=$(cat "$details/wip")
[ -n "$lmwt" ] && [ -n "$wip" ] || die "$details/lmwt or wip is empty: dev was not scored"
decode "$3" "$srcdir/$decode_test" "$lmwt" "$wip"
