#!/usr/bin/env bash
# What the name of a network says of its training; sourced.
#
#   <network>-<objective>[-then-<objective>][-by-<teacher>]
#
# The network is lstm, dnn or small (a smaller DNN). The objective is a mode of steps/train_nnet.sh: hard, smooth,
# soft-T<temperature>, interpolate-T<temperature>, conditional-T<temperature>, logits or teacher_labels; or
# shuffled-T<temperature>, a control: soft, with --shuffle-targets. After -then- it goes on from the network of the name
# before it, with the schedule fine_tuning. The teacher is dnn, or another name; lstm-pretrain-T2 is short for
# lstm-soft-T2-then-hard.
# shellcheck disable=SC2034 # variables of those who source this

student_names="<lstm, dnn or small>-<objective>[-then-<objective>][-by-<teacher>], as lstm-hard or lstm-soft-T2: see local/students.sh"

# _check_temperature name text: stops if what follows -T is none.
_check_temperature() {
  [[ $2 =~ ^[0-9]+([.][0-9]+)?$ && $2 == *[1-9]* ]] ||
    die "student '$1': -T is followed by a temperature above 0, as in lstm-soft-T2"
}

# _read_objective name text: sets mode and temperature. An objective after another one has its temperature if it names none.
_read_objective() {
  mode=${2%%-T*}
  shuffled=false
  case $mode in
    hard | smooth | logits | teacher_labels) [ "$2" = "$mode" ] || return 1 ;;
    soft | interpolate | conditional | shuffled)
      [ "$2" = "$mode" ] || temperature=${2#*-T}
      _check_temperature "$1" "$temperature"
      ;;
    *) return 1 ;;
  esac
  [ "$mode" != shuffled ] || { mode=soft && shuffled=true; }
}

# read_student name: sets network (lstm, dnn or small), mode, temperature (empty where it is of no use), shuffled (true or
# false), begun (the name of the network that it goes on from; empty for none) and teacher (a name; empty for none).
# Stops if it is no such name.
read_student() {
  local name=${1%%-by-*} by='' first='' last
  [ "$name" = "$1" ] || by=-by-${1#*-by-}
  network=${name%%-*}
  last=${name#"$network"-}
  temperature=
  if [[ $last == pretrain-T* ]]; then last=soft-T${last#pretrain-T}-then-hard; fi
  if [[ $last == *-then-* ]]; then
    first=${last%%-then-*}
    last=${last#*-then-}
  fi
  [[ " lstm dnn small " == *" $network "* && $name == *-* ]] || die "no student '$1': $student_names"
  begun=
  if [ -n "$first" ]; then
    _read_objective "$1" "$first" || die "no student '$1': '$first' is no objective: $student_names"
    begun=$network-$first
    ! _is_taught || begun+=$by
  fi
  _read_objective "$1" "$last" || die "no student '$1': '$last' is no objective: $student_names"
  teacher=
  if _is_taught; then
    teacher=${by#-by-}
    teacher=${teacher:-dnn}
  elif [[ -n "$by" && $begun != *"$by" ]]; then
    die "student '$1': nothing that it learns is taught$by"
  fi
  case $mode in soft | interpolate | conditional) ;; *) temperature= ;; esac
}

# goes_on_from name: what it goes on from; nothing if it begins afresh, as dnn does.
goes_on_from() {
  local network mode temperature shuffled begun='' teacher
  [ "$1" = dnn ] || read_student "$1"
  echo "$begun"
}

# config_of_student: of the student that was read last, what configures it: hard, for an LSTM that learns labels alone
# from fresh weights, if there is a hard_config; else its network.
config_of_student() {
  if [ -n "${hard_config:-}" ] && [ "$network" = lstm ] && [ -z "$begun" ] && ! _is_taught; then
    echo hard
  else
    echo "$network"
  fi
}

# _is_taught: whether the mode that was read last has a teacher.
_is_taught() { case $mode in hard | smooth) false ;; esac; }
