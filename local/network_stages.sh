#!/usr/bin/env bash
# Stages that train teachers and students on alignments; sourced by recipes after stages.sh. A recipe sets exp, nj,
# train_cmd, seeds, dnn_config, students (as local/train_student.sh names them; none for no students), lstm_config,
# and the directories network_train and network_dev (features), lang, ali_train and ali_dev.

steps=$DKT_ROOT/steps
# Those that the students are trained at: lstm-soft-T2 gives 2.
temperatures=$(tr ' ' '\n' <<<"$students" | sed -n 's/.*-T//p' | sort -u | xargs)

for system in $students; do
  case $system in
    lstm-hard | lstm-soft-T[0-9]*) ;;
    lstm-pretrain-T[0-9]*)
      [[ " $students " == *" lstm-soft-T${system##*-T} "* ]] ||
        die "student '$system' goes on from lstm-soft-T${system##*-T}: name it too"
      ;;
    *) die "no student '$system': lstm-hard, lstm-soft-T<temperature> or lstm-pretrain-T<temperature>" ;;
  esac
done

# stage_teachers n: a DNN of each seed. A leaf: stages that read the networks look at them.
stage_teachers() {
  local seed
  begin_stage --leaf "$1" "DNN" "$dnn_config" <(echo "$seeds $network_train") || return 0
  for seed in $seeds; do
    claim_dir "$exp/dnn_seed$seed" "$dnn_config"
    "$steps/train_dnn.sh" --cmd "$train_cmd" --dnn-config "$dnn_config" --seed "$seed" \
      "$network_train" "$network_dev" "$lang" "$ali_train" "$ali_dev" "$exp/dnn_seed$seed"
  done
  end_stage
}

# network_files system...: the models of all seeds.
network_files() {
  local system seed
  for system in "$@"; do
    for seed in $seeds; do echo "$exp/${system}_seed$seed/final.pt"; done
  done
}

# stage_soft_targets n: of each teacher, if there are students that need them.
stage_soft_targets() {
  local seed teacher teachers
  mapfile -t teachers < <(network_files dnn)
  [ -n "$temperatures" ] && begin_stage --leaf "$1" "soft targets" <(echo "$temperatures") "${teachers[@]}" || return 0
  for seed in $seeds; do
    teacher=$exp/dnn_seed$seed
    "$steps/make_soft_targets.sh" --nj "$nj" --cmd "$train_cmd" --temperatures "$temperatures" \
      "$network_train" "$teacher" "$teacher/soft_train"
    "$steps/make_soft_targets.sh" --nj "$nj" --cmd "$train_cmd" --temperatures "$temperatures" \
      "$network_dev" "$teacher" "$teacher/soft_dev"
  done
  end_stage
}

# _claimed_students pattern: lines "<system> <seed>" of those students whose name matches.
_claimed_students() {
  local system seed depends
  for seed in $seeds; do
    for system in $students; do
      # shellcheck disable=SC2254
      case $system in $1) ;; *) continue ;; esac
      depends=("$lstm_config")
      [ "$system" = lstm-hard ] || depends+=("$exp/dnn_seed$seed/final.pt")
      claim_dir "$exp/${system}_seed$seed" "${depends[@]}" >&2
      echo "$system $seed"
    done
  done
}

# _train_students pattern: nj of them at a time, as a small network gains little from more processors.
_train_students() {
  _claimed_students "$1" |
    xargs -r -P "$nj" -L 1 "$DKT_ROOT/local/train_student.sh" --cmd "$train_cmd" --lstm-config "$lstm_config" \
      "$network_train" "$network_dev" "$lang" "$ali_train" "$ali_dev" "$exp"
}

# stage_students n: of each seed; those that go on from a soft student come last.
stage_students() {
  local teachers
  [ -n "$students" ] || return 0
  mapfile -t teachers < <(network_files dnn)
  begin_stage --leaf "$1" "students: $students" "$lstm_config" <(echo "$seeds $students") "${teachers[@]}" || return 0
  _train_students 'lstm-[!p]*'
  _train_students 'lstm-pretrain-*'
  end_stage
}

# network_systems: <system>=<directory> of every network, for dkt report.
network_systems() {
  local system seed
  for system in dnn $students; do
    for seed in $seeds; do echo "$system=$exp/${system}_seed$seed"; done
  done
}
