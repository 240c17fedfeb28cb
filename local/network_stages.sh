#!/usr/bin/env bash
# Stages that train teachers and students on alignments; sourced by recipes after stages.sh. A recipe sets exp, nj,
# train_cmd, seeds, dnn_config, students (as local/train_student.sh names them; none for no students), lstm_config,
# and the directories network_train and network_dev (features), lang, ali_train and ali_dev.
# shellcheck disable=SC2154 # variables of the recipe

steps=$DKT_ROOT/steps
# Ends the names of systems that are trained on alignments by another network: see realigning.sh.
realigned=

# temperatures_of students: those that the students are trained at: lstm-soft-T2 gives 2.
temperatures_of() { tr ' ' '\n' <<<"$1" | sed -n 's/.*-T//p' | sort -u | xargs; }

# _check_temperature student: stops if what follows -T is none.
_check_temperature() {
  [[ ${1##*-T} =~ ^[0-9]+([.][0-9]+)?$ && ${1##*-T} == *[1-9]* ]] ||
    die "student '$1': -T is followed by a temperature above 0, as in lstm-soft-T2"
}

# _refuse_twice what value...: stops at a value that stands there twice, whose directory two trainings would share.
_refuse_twice() {
  local twice
  twice=$(printf '%s\n' "${@:2}" | sort | uniq -d | head -n 1)
  [ -z "$twice" ] || die "$1 $twice is named twice"
}

# check_students students: stops at one that cannot be trained.
check_students() {
  local system
  # shellcheck disable=SC2086 # a list
  _refuse_twice student $1
  # One of them would have no soft targets: 2 and 2.0.
  # shellcheck disable=SC2046
  _refuse_twice "--students: a temperature, however it is written:" $(temperatures_of "$1" | tr ' ' '\n' | awk 'NF { print $1 + 0 }')
  for system in $1; do
    case $system in *-T*) _check_temperature "$system" ;; esac
    case $system in
      lstm-hard | lstm-soft-T*) ;;
      lstm-pretrain-T*)
        [[ " $1 " == *" lstm-soft-T${system##*-T} "* ]] ||
          die "student '$system' goes on from lstm-soft-T${system##*-T}: name it too"
        ;;
      *) die "no student '$system': lstm-hard, lstm-soft-T<temperature> or lstm-pretrain-T<temperature>" ;;
    esac
  done
}

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

check_seeds
check_students "$students"
temperatures=$(temperatures_of "$students")
set_config_files dnn_files dnn "$dnn_config"
[ -z "$students${realign_by:-}" ] || set_config_files lstm_files lstm "$lstm_config"

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

_make_soft_targets() {
  local seed teacher
  for seed in $seeds; do
    teacher=$(network_dir dnn "$seed")
    "$steps/make_soft_targets.sh" --nj "$nj" --cmd "$train_cmd" --temperatures "$temperatures" \
      "$network_train" "$teacher" "$teacher/soft_train"
    "$steps/make_soft_targets.sh" --nj "$nj" --cmd "$train_cmd" --temperatures "$temperatures" \
      "$network_dev" "$teacher" "$teacher/soft_dev"
  done
}

# stage_soft_targets n: of each teacher, if there are students that need them.
stage_soft_targets() {
  local teachers seed results=()
  mapfile -t teachers < <(network_files dnn)
  [ -n "$temperatures" ] && begin_stage --leaf "$1" "soft targets" <(echo "$temperatures") "${teachers[@]}" || return 0
  _make_soft_targets
  for seed in $seeds; do results+=("$(network_dir dnn "$seed")"/soft_{train,dev}/{soft.scp,header.yaml}); done
  end_stage "${results[@]}"
}

# _claimed_students pattern: of those students whose name matches the last arguments of local/train_student.sh, five of
# each, every one ended by a null character.
_claimed_students() {
  local system seed depends
  for seed in $seeds; do
    _set_labels "$seed"
    for system in $students; do
      # shellcheck disable=SC2254
      case $system in $1) ;; *) continue ;; esac
      depends=("${lstm_files[@]}" ${labelled_by[@]+"${labelled_by[@]}"})
      [ "$system" = lstm-hard ] || depends+=("$(network_dir dnn "$seed")/final.pt")
      claim_dir "$(network_dir "$system" "$seed")" "${depends[@]}" >&2
      printf '%s\0' "${labels[@]}" "$exp" "$system$realigned" "$seed"
    done
  done
}

# _train_matching pattern: nj of them at a time, as a small network gains little from more processors.
_train_matching() {
  _claimed_students "$1" |
    xargs -0 -r -P "$nj" -n 5 "$DKT_ROOT/local/train_student.sh" --cmd "$train_cmd" --lstm-config "$lstm_config" \
      "$network_train" "$network_dev" "$lang"
}

# _train_students: those that go on from a soft student come last.
_train_students() {
  _train_matching 'lstm-[!p]*'
  _train_matching 'lstm-pretrain-*'
}

# stage_students n: of each seed.
stage_students() {
  local teachers results
  [ -n "$students" ] || return 0
  mapfile -t teachers < <(network_files dnn)
  begin_stage --leaf "$1" "students: $students" "${lstm_files[@]}" <(echo "$seeds $students") "${teachers[@]}" || return 0
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
