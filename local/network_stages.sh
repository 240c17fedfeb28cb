#!/usr/bin/env bash
# Stages that train teachers and students on alignments; sourced by recipes after stages.sh. A recipe sets exp, nj,
# train_cmd, seeds, dnn_config, students (as local/train_student.sh names them; none for no students), lstm_config,
# and the directories network_train and network_dev (features), lang, ali_train and ali_dev.

steps=$DKT_ROOT/steps
# Those that the students are trained at: lstm-soft-T2 gives 2.
temperatures=$(tr ' ' '\n' <<<"$students" | sed -n 's/.*-T//p' | sort -u | xargs)

# stage_teachers n: a DNN of each seed.
stage_teachers() {
  local seed
  begin_stage "$1" "DNN" "$dnn_config" <(echo "$seeds $network_train") || return 0
  for seed in $seeds; do
    claim_dir "$exp/dnn_seed$seed" "$dnn_config"
    "$steps/train_dnn.sh" --cmd "$train_cmd" --dnn-config "$dnn_config" --seed "$seed" \
      "$network_train" "$network_dev" "$lang" "$ali_train" "$ali_dev" "$exp/dnn_seed$seed"
  done
  end_stage
}

# stage_soft_targets n: of each teacher, if there are students that need them.
stage_soft_targets() {
  local seed teacher
  [ -n "$temperatures" ] && begin_stage "$1" "soft targets" <(echo "$seeds $temperatures") || return 0
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
  local system seed
  for seed in $seeds; do
    for system in $students; do
      # shellcheck disable=SC2254
      case $system in
        $1)
          claim_dir "$exp/${system}_seed$seed" "$lstm_config" >&2
          echo "$system $seed"
          ;;
      esac
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
  [ -n "$students" ] && begin_stage "$1" "students: $students" "$lstm_config" <(echo "$seeds $students") || return 0
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
