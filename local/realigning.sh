#!/usr/bin/env bash
# Realigns by a network of the recipe and trains networks anew on what it gives; sourced after network_stages.sh by
# recipes that set, beside what is told there, realign_by (dnn or one of the students; empty: nothing of all this) and
# retrain (the systems that are trained anew, first of all the DNN; empty: it and that of realign_by).
# shellcheck disable=SC2034,SC2154 # variables of the recipe and of network_stages.sh

retrained_students=
if [ -n "$realign_by" ]; then
  [[ " dnn $students " == *" $realign_by "* ]] || die "--realign-by $realign_by: it is none of dnn $students"
  retrain=${retrain:-"$(goes_on_from "$realign_by") $realign_by"}
  for system in $retrain; do
    [ "$system" = dnn ] || retrained_students+="${retrained_students:+ }$system"
  done
  check_students "$retrained_students"
fi

# as_realigned command...: calls it for the networks that are trained anew.
as_realigned() {
  local realigned=_realigned students=$retrained_students temperatures
  temperatures=$(temperatures_of "$students")
  "$@"
}

# aligner_dir seed: each seed has its own aligner, so that a spread over seeds is that of the whole chain.
aligner_dir() { echo "$exp/${realign_by}_seed$1"; }

_align() {
  local seed dir
  for seed in $seeds; do
    dir=$(aligner_dir "$seed")
    _set_labels "$seed"
    # Counts of the labels that it was trained on would pull it back to them.
    "$steps/make_priors.sh" --nj "$nj" --cmd "$train_cmd" "$network_train" "$dir"
    "$steps/align.sh" --nj "$nj" --cmd "$train_cmd" "$network_train" "$lang" "$dir" "${labels[0]}"
    "$steps/align.sh" --nj "$nj" --cmd "$train_cmd" "$network_dev" "$lang" "$dir" "${labels[1]}"
  done
}

# realign_and_retrain: within a stage that has begun. Frame accuracies are then those on the new alignments, of dev
# too: they compare with one another only.
realign_and_retrain() {
  as_realigned _align
  as_realigned _train_teachers
  [ -z "$retrained_students" ] || as_realigned _train_new_students
}

_train_new_students() {
  ! dnn_teaches || _make_soft_targets dnn
  _train_students
}
