#!/usr/bin/env bash
# Stages that train teachers and students on alignments; sourced by recipes after stages.sh. A recipe sets exp, nj,
# train_cmd, seeds, dnn_config, students (as students.sh names them; none for no students), lstm_config, small_config
# (if there are students called small), hard_config (of LSTMs that learn labels alone from fresh weights; lstm_config
# unless set), and the directories network_train and network_dev (features), lang, ali_train and ali_dev.
# shellcheck disable=SC2034,SC2154 # variables of the recipe, and of read_student

. "$DKT_ROOT/local/students.sh"
steps=$DKT_ROOT/steps
# Ends the names of systems that are trained on alignments by another network: see realigning.sh.
realigned=

# temperatures_of students: those that the students are trained at: lstm-soft-T2 gives 2.
temperatures_of() { { grep -oE -e '-T[^ -]*' <<<"$1" || true; } | cut -c 3- | sort -u | xargs; }

# _refuse_twice what value...: stops at a value that stands there twice, whose directory two trainings would share.
_refuse_twice() {
  local twice
  twice=$(printf '%s\n' "${@:2}" | sort | uniq -d | head -n 1)
  [ -z "$twice" ] || die "$1 $twice is named twice"
}

# check_students students: stops at one that cannot be trained.
check_students() {
  local system network mode temperature shuffled begun teacher
  # shellcheck disable=SC2086 # a list
  _refuse_twice student $1
  for system in $1; do
    read_student "$system"
    [[ -z "$begun" || " $1 " == *" $begun "* ]] || die "student '$system' goes on from $begun: name it too"
    [[ -z "$teacher" || " dnn $1 " == *" $teacher "* ]] || die "student '$system' is taught by $teacher: name it too"
    [[ $network != small || -n "$small_config" ]] || die "student '$system' needs a configuration: --small-config"
  done
  # One of them would have no soft targets: 2 and 2.0.
  # shellcheck disable=SC2046
  _refuse_twice "--students: a temperature, however it is written:" $(temperatures_of "$1" | tr ' ' '\n' | awk 'NF { print $1 + 0 }')
}

# teachers_of students: those whose soft targets they learn from, each once.
teachers_of() {
  local system network mode temperature shuffled begun teacher
  for system in $1; do
    read_student "$system"
    [ -z "$teacher" ] || [ "$mode" = logits ] || echo "$teacher"
  done | sort -u
}

# dnn_teaches: whether there are students that learn from soft targets of the DNN.
dnn_teaches() { teachers_of "$students" | grep -x dnn >/dev/null; }

# check_seeds: stops at what is not a seed.
check_seeds() {
  local seed
  [[ $seeds == *[0-9]* ]] || die "--seeds is empty: there would be no network"
  # shellcheck disable=SC2086 # a list
  _refuse_twice "--seeds: seed" $seeds
  for seed in $seeds; do
    [[ $seed =~ ^(0|[1-9][0-9]{0,9})$ ]] && [ "$seed" -lt 4294967296 ] || die "--seeds holds '$seed', expected whole numbers"
  done
}

small_config=${small_config:-}
hard_config=${hard_config:-}
check_seeds
check_students "$students"
temperatures=$(temperatures_of "$students")
set_config_files dnn_files dnn "$dnn_config"
[ -z "$students${realign_by:-}" ] || set_config_files lstm_files lstm "$lstm_config"
hard_files=() small_files=()
[[ -z "$hard_config" || -z "$students${realign_by:-}" ]] || set_config_files hard_files lstm "$hard_config"
[[ " $students" != *" small-"* ]] || set_config_files small_files dnn "$small_config"

# network_dir system seed: the directory of a network.
network_dir() { echo "$exp/$1${realigned}_seed$2"; }

# network_files system...: the models of all seeds.
network_files() {
  local system seed
  for system in "$@"; do
    for seed in $seeds; do echo "$(network_dir "$system" "$seed")/final.pt"; done
  done
}

# _set_labels seed: sets labels, the directories of alignments of train and dev that networks of this seed are trained
# on, and labelled_by, the network that made them, if they are not those that the recipe was given.
_set_labels() {
  labels=("$ali_train" "$ali_dev")
  labelled_by=()
  [ -n "$realigned" ] || return 0
  labels=("$(aligner_dir "$1")"_ali_{train,dev})
  labelled_by=("$(aligner_dir "$1")/final.pt")
}

_train_teachers() {
  local seed dir
  for seed in $seeds; do
    dir=$(network_dir dnn "$seed")
    _set_labels "$seed"
    claim_dir "$dir" "${dnn_files[@]}" ${labelled_by[@]+"${labelled_by[@]}"}
    "$steps/train_dnn.sh" --cmd "$train_cmd" --dnn-config "$dnn_config" --seed "$seed" \
      "$network_train" "$network_dev" "$lang" "${labels[@]}" "$dir"
  done
}

# stage_teachers n: a DNN of each seed. A leaf: stages that read the networks look at them.
stage_teachers() {
  local results
  begin_stage --leaf "$1" "DNN" "${dnn_files[@]}" <(echo "$seeds $network_train") || return 0
  _train_teachers
  mapfile -t results < <(network_files dnn)
  end_stage "${results[@]}"
}

# _make_soft_targets teacher...: of each seed. A student may learn of a teacher at no temperature: teacher_labels.
_make_soft_targets() {
  local seed teacher part
  for seed in $seeds; do
    for teacher in "$@"; do
      teacher=$(network_dir "$teacher" "$seed")
      for part in train dev; do
        local data=network_$part
        "$steps/make_soft_targets.sh" --nj "$nj" --cmd "$train_cmd" --temperatures "${temperatures:-1}" \
          "${!data}" "$teacher" "$teacher/soft_$part"
      done
    done
  done
}

# stage_soft_targets n: of each DNN, if there are students that need them.
stage_soft_targets() {
  local teachers seed results=()
  mapfile -t teachers < <(network_files dnn)
  dnn_teaches &&
    begin_stage --leaf "$1" "soft targets" <(echo "$temperatures") "${teachers[@]}" || return 0
  _make_soft_targets dnn
  for seed in $seeds; do results+=("$(network_dir dnn "$seed")"/soft_{train,dev}/{soft.scp,header.yaml}); done
  end_stage "${results[@]}"
}

# _depends_of student seed: what its training depends on, a line each.
_depends_of() {
  local network mode temperature shuffled begun teacher config files
  read_student "$1"
  config=$(config_of_student)
  # shellcheck disable=SC2125 # a name
  files=${config}_files[@]
  printf '%s\n' "${!files}" ${labelled_by[@]+"${labelled_by[@]}"}
  # What it goes on from depends on its teacher, and on a configuration of its own.
  while [ -n "$begun" ]; do
    read_student "$begun"
    [ "$(config_of_student)" = "$config" ] || printf '%s\n' "${hard_files[@]}"
  done
  [ -z "$teacher" ] || echo "$(network_dir "$teacher" "$2")/final.pt"
}

# _claimed_students student...: of each seed of them the last arguments of local/train_student.sh, five of each, every
# one ended by a null character.
_claimed_students() {
  local system seed depends labels labelled_by
  for seed in $seeds; do
    _set_labels "$seed"
    for system in "$@"; do
      mapfile -t depends < <(_depends_of "$system" "$seed")
      claim_dir "$(network_dir "$system" "$seed")" "${depends[@]}" >&2
      printf '%s\0' "${labels[@]}" "$exp" "$system$realigned" "$seed"
    done
  done
}

# _is_ready student others: whether it neither goes on from one of the others nor is taught by one.
_is_ready() {
  local network mode temperature shuffled begun teacher
  read_student "$1"
  [[ " $2 " != *" ${begun:-none} "* && " $2 " != *" ${teacher:-none} "* ]]
}

# _train_students: nj of them at a time, as a small network gains little from more processors; those first that others go
# on from, or are taught by.
_train_students() {
  local left=$students ready later system teachers
  while [ -n "$left" ]; do
    ready=() later=
    for system in $left; do
      if _is_ready "$system" "$left"; then ready+=("$system"); else later+=" $system"; fi
    done
    mapfile -t teachers < <(teachers_of "${ready[*]}" | grep -vx dnn)
    _make_soft_targets ${teachers[@]+"${teachers[@]}"}
    _claimed_students "${ready[@]}" |
      xargs -0 -r -P "$nj" -n 5 "$DKT_ROOT/local/train_student.sh" --cmd "$train_cmd" --lstm-config "$lstm_config" \
        --hard-config "$hard_config" --dnn-config "$dnn_config" --small-config "$small_config" \
        "$network_train" "$network_dev" "$lang"
    left=${later# }
  done
}

# stage_students n: of each seed.
stage_students() {
  local teachers results
  [ -n "$students" ] || return 0
  mapfile -t teachers < <(network_files dnn)
  begin_stage --leaf "$1" "students: $students" "${lstm_files[@]}" ${hard_files[@]+"${hard_files[@]}"} \
    ${small_files[@]+"${small_files[@]}"} <(echo "$seeds $students") "${teachers[@]}" || return 0
  _train_students
  # shellcheck disable=SC2086 # a list
  mapfile -t results < <(network_files $students)
  end_stage "${results[@]}"
}

# network_systems: <system>=<directory> of every network, for dkt report.
network_systems() {
  local system seed
  for system in dnn $students; do
    for seed in $seeds; do echo "$system$realigned=$(network_dir "$system" "$seed")"; done
  done
}
