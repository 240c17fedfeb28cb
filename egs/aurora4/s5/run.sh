#!/usr/bin/env bash
# The paper's experiment: a DNN on spliced filterbanks teaches an LSTM, over what Kaldi's egs/aurora4/s5 leaves after its
# GMM stages. Run it again and it goes on where it stopped.
set -euo pipefail
recipe=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../../../steps/lib/signals.sh"
. "$recipe/cmd.sh"

default_fbank_dir="data-fbank"
kaldi_dir=
data=
exp=
nj=4
stage=
stop_stage=7
seeds="777"
students="lstm-hard lstm-soft-T1 lstm-soft-T2 lstm-pretrain-T1 lstm-pretrain-T2"
dnn_config=
lstm_config=
fbank_config=
train_set=train_si84_multi
dev_set=dev_0330
tuning_set=
test_sets="test_eval92 test_0166"
fbank_dir=$default_fbank_dir
lang=data/lang
gmm=exp/tri2b_multi
ali_train=
ali_dev=
graph=
searched=
beam=18.0
lattice_beam=10.0
max_active=7000
min_active=200
acwt=0.1
lmwts="7 8 9 10 11 12 13 14 15 16 17"
word_ins_penalties="0.0"
steal_lock=false
help_message="Usage: ./run.sh --kaldi-dir <dir> [options]
  --kaldi-dir <dir>     Kaldi's egs/aurora4/s5 after its GMM stages; the directories below are relative to it
  --train-set, --dev-set <name>   data sets (train_si84_multi, dev_0330)
  --test-sets <list>    (test_eval92 test_0166); the first is that of the report
  --tuning-set <name>   where the LM weight is chosen (<dev-set>)
  --fbank-dir <dir>     filterbanks of all these sets, as <dir>/<set>; made here of the audio of data/<set> if it is ''
                        ($default_fbank_dir if that is there)
  --lang <dir>          (data/lang)
  --gmm <dir>           that aligned the data (exp/tri2b_multi)
  --ali-train, --ali-dev <dir>   alignments (<gmm>_ali_si84, <gmm>_ali_<dev-set>; made here by <gmm>, of the MFCC in
                        data/<set>, if Kaldi's recipe has not)
  --graph <dir>         (<gmm>/graph_tgpr_5k)
  --searched <list>     systems to decode with (dnn and all students)
  --beam, --lattice-beam, --max-active, --min-active, --acwt   of the decoding (18, 10, 7000, 200, 0.1)
  --lmwts, --word-ins-penalties <list>   scored at each on <tuning-set>; at the best of them on the test sets
  --data <dir>, --exp <dir>   where lists, features and experiments go (data, exp); the report goes to <exp>/report
  --nj <n>              jobs in parallel (4)
  --stage <n>           begin at this stage (the first that is not done yet)
  --stop-stage <n>      end after this stage (7)
  --seeds <list>        train networks with each of these seeds (777)
  --students <list>     lstm-hard, lstm-soft-T<T>, lstm-pretrain-T<T> and others: see local/students.sh
  --dnn-config, --lstm-config <yaml>, --fbank-config <conf>   (conf/dnn.yaml, conf/lstm.yaml, conf/fbank.conf)
  --steal-lock <bool>   take <exp> from another process: one of another host that is dead (false)"
. "$recipe/../../../steps/utils/parse_options.sh"
. "$recipe/../../../local/stages.sh"
[ $# = 0 ] || { echo "$help_message" >&2; exit 1; }
make_absolute kaldi_dir data exp dnn_config lstm_config fbank_config
[ -n "$kaldi_dir" ] || { echo "run.sh: --kaldi-dir is missing" >&2; echo "$help_message" >&2; exit 1; }
require_options f dnn_config lstm_config fbank_config
require_options d kaldi_dir
. "$recipe/path.sh"

data=${data:-$recipe/data}
exp=${exp:-$recipe/exp}
dnn_config=${dnn_config:-$recipe/conf/dnn.yaml}
lstm_config=${lstm_config:-$recipe/conf/lstm.yaml}
fbank_config=${fbank_config:-$recipe/conf/fbank.conf}
tuning_set=${tuning_set:-$dev_set}
graph=${graph:-$gmm/graph_tgpr_5k}
# Kaldi's lists name files from here.
cd "$kaldi_dir"
check_recipe "$data" "$exp"
[ "$fbank_dir" != "$default_fbank_dir" ] || [ -d "$fbank_dir" ] || fbank_dir=

# require_set name: stops unless there are its filterbanks, or what they are made of.
require_set() {
  [[ $1 =~ ^[A-Za-z0-9._-]+$ ]] || die "'$1' is not the name of a data set"
  if [ -n "$fbank_dir" ]; then
    require_files "$fbank_dir/$1"/{feats.scp,utt2spk,spk2utt,text}
  else
    require_files "data/$1"/{wav.scp,utt2spk,spk2utt,text}
  fi
}

# The sets that are aligned here.
to_align=()

# find_alignments variable set dir: sets a directory of alignments that the user has not named to that of Kaldi's recipe
# or, if it is not there, to one of this recipe.
find_alignments() {
  if [ -n "${!1}" ] || [ -e "$3/num_jobs" ]; then
    printf -v "$1" %s "${!1:-$3}"
    require_files "${!1}"/{final.mdl,num_jobs}
    return 0
  fi
  printf -v "$1" %s "$exp/ali_$2"
  to_align+=("$2")
  require_files "data/$2"/{feats.scp,cmvn.scp,utt2spk,text} "$gmm"/{final.mdl,tree} "$lang/L.fst"
  # The alignment of such a GMM needs transforms of the speakers.
  [ ! -e "$gmm/final.alimdl" ] ||
    die "no alignments in '$3', and $gmm is speaker-adapted: align $2 by Kaldi's steps/align_fmllr.sh"
}

# Not after hours of training.
[[ $test_sets == *[![:space:]]* ]] || die "--test-sets is empty"
for name in "$train_set" "$dev_set" "$tuning_set" $test_sets; do require_set "$name"; done
require_files "$lang/phones.txt" "$graph"/{HCLG.fst,words.txt}
find_alignments ali_train "$train_set" "${gmm}_ali_si84"
find_alignments ali_dev "$dev_set" "${gmm}_ali_$dev_set"
check_phones "$lang" "$graph" "$gmm"
check_decoding lattice_beam acwt

stage_options="$kaldi_dir $data $fbank_dir $train_set $dev_set $lang $gmm $ali_train $ali_dev"
network_train=$data/$train_set
network_dev=$data/$dev_set
data_tuning=$data/$tuning_set
decode_dev=decode_${tuning_set#test_}
data_test=()
decode_test=()
for name in $test_sets; do
  data_test+=("$data/$name")
  decode_test+=("decode_${name#test_}")
done
. "$DKT_ROOT/local/network_stages.sh"
. "$DKT_ROOT/local/graph_decoding.sh"
_refuse_twice "--test-sets, --tuning-set: decode directory" "$decode_dev" "${decode_test[@]}"
if [ -e "$ali_train/final.mdl" ]; then check_graph "$ali_train/final.mdl"; else check_graph "$gmm/final.mdl"; fi

# prepare_set name: lists and filterbanks.
prepare_set() {
  local options=(--decoded)
  # Its alignments are made already.
  [ "$1" != "$train_set" ] || options=()
  [ -n "$fbank_dir" ] || options+=(--audio)
  hold_directory "$data/$1"
  python "$recipe/local/prepare_data.py" ${options[@]+"${options[@]}"} "${fbank_dir:-data}/$1" "$data/$1"
  [ -n "$fbank_dir" ] ||
    "$steps/make_fbank.sh" --nj "$nj" --cmd "$train_cmd" --fbank-config "$fbank_config" "$data/$1"
  "$steps/compute_cmvn_stats.sh" --cmd "$train_cmd" "$data/$1"
}

# stage_features [--leaf] n name...: filterbanks of these sets.
stage_features() {
  local leaf=() name file inputs=("$fbank_config") results=()
  [ "$1" != --leaf ] || { leaf=(--leaf) && shift; }
  for name in "${@:2}"; do
    for file in "${fbank_dir:-data}/$name"/{feats.scp,wav.scp,segments,text,utt2spk}; do
      [ ! -e "$file" ] || inputs+=("$file")
    done
    results+=("$data/$name"/{feats.scp,cmvn.scp,text,utt2spk})
  done
  begin_stage ${leaf[@]+"${leaf[@]}"} "$1" "filterbanks of ${*:2}" <(echo "${*:2}") "${inputs[@]}" || return 0
  for name in "${@:2}"; do prepare_set "$name"; done
  end_stage "${results[@]}"
}

stage_features 0 "$train_set" "$dev_set"

# Another test set does not train networks anew.
# shellcheck disable=SC2086 # a list
set -- $test_sets
[ "$tuning_set" = "$dev_set" ] || set -- "$tuning_set" "$@"
stage_features --leaf 1 "$@"

# align_set name: by the GMM, of its own features.
align_set() {
  "$steps/align_si.sh" --nj "$nj" --cmd "$train_cmd" "data/$1" "$lang" "$gmm" "$exp/ali_$1"
}

inputs=()
results=()
for name in ${to_align[@]+"${to_align[@]}"}; do
  inputs+=("data/$name"/{feats.scp,text} "$gmm/final.mdl")
  results+=("$exp/ali_$name"/{final.mdl,num_jobs,ali.1.gz})
done
if [ ${#to_align[@]} -gt 0 ] && begin_stage 2 "alignments of ${to_align[*]}" "${inputs[@]}"; then
  for name in "${to_align[@]}"; do align_set "$name"; done
  end_stage "${results[@]}"
fi

stage_teachers 3
stage_soft_targets 4
stage_students 5
stage_decode 6

if [ "$stop_stage" -ge 7 ]; then
  echo "=== stage 7: report [$(stages_elapsed) s]"
  mapfile -t systems < <(network_systems)
  dkt report --out "$exp/report" --decode-dev "$decode_dev" --decode-test "${decode_test[0]}" "${systems[@]}"
  mapfile -t systems < <(decoded_systems)
  for name in "${decode_test[@]:1}"; do
    dkt report --out "$exp/report/${name#decode_}" --num-utts 0 --decode-dev "$decode_dev" --decode-test "$name" \
      "${systems[@]}"
  done
  python "$recipe/local/conditions.py" --out "$exp/report" --decode "$decode_dev" "${decode_test[@]/#/--decode=}" \
    "${systems[@]}"
  echo "=== done in $(stages_elapsed) s"
fi
