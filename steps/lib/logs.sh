#!/usr/bin/env bash
# What the steps tell of their jobs' logs; sourced by common.sh.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# check_share value: stops unless --max-dropped is a share.
check_share() {
  awk -v value="$1" 'BEGIN { exit !(value ~ /^([0-9]+[.]?[0-9]*|[.][0-9]+)$/ && value <= 1) }' ||
    die "--max-dropped is '$1', expected a share from 0 to 1"
}

# require_logs log...: stops at one that cannot be read.
require_logs() {
  local log
  for log in "$@"; do
    [ -e "$log" ] || die "no log '$log': was it removed while the step ran?"
    { [ -f "$log" ] && : <"$log"; } 2>/dev/null || die "the log '$log' cannot be read"
  done
}

# tell_losses log...: prints what the jobs of these logs warned of and dropped.
tell_losses() { check_losses 1 "$@"; }

judged_logs=()

# set_judged_logs log...: sets the array judged_logs, the logs that the verdict on the results of the step is about, with
# JOB in place of the number of each of its nj jobs.
set_judged_logs() {
  local log job
  judged_logs=()
  for log in "$@"; do
    if [[ $log == *JOB* ]]; then
      for job in $(seq "$nj"); do judged_logs+=("${log//JOB/$job}"); done
    else
      judged_logs+=("$log")
    fi
  done
}

# verdict: stops if more was lost than --max-dropped allows. Steps that look at more have one of their own.
verdict() { check_losses "$max_dropped" "${judged_logs[@]}"; }

# verdict_on_alignment dir lang: the same, where one program has made a whole alignment directory and judged it by other
# limits.
verdict_on_alignment() {
  local found=$1/log/analyze_alignments.log
  check_losses "$max_dropped" "${judged_logs[@]}"
  # shellcheck disable=SC2154 # options of the step
  dkt analyze-alignments --data="$data" --max-oov="$max_oov" --allow-implausible="$allow_implausible" "$2" "$1" \
    >"$found" 2>&1 || job_failed "$found"
}

# tell_alignment log: prints what an alignment looks like and what is implausible about it, as its log tells.
tell_alignment() {
  require_logs "$@"
  awk -v step="$script_name" '
    sub(/^INFO [(][^)]*[)] alignment: /, "") { print step ": " $0 }
    sub(/^WARNING [(][^)]*[)] alignment: /, "") { print step ": warning: " $0 }' "$@" >&2
}

# _shown_names file...: the first of them, and how many more there are.
_shown_names() { echo "$1$([ $# = 1 ] || echo " and $(($# - 1)) more")"; }

# check_losses max-dropped log...: the same, and stops if a pass dropped more than this share of its utterances, all
# jobs together. It reads the lines "<pass>: 9 utterances done, 1 dropped; 1 (<utterance>): <reason>" of dkt's commands.
check_losses() {
  local status=0
  require_logs "${@:2}"
  awk -v max_dropped="$1" -v step="$script_name" '
    / dropped utterance / { next }
    /^WARNING / {
      log_name = FILENAME
      sub(/[.][0-9]+[.]log$/, ".*.log", log_name)
      warnings[log_name]++
    }
    /^INFO / && match($0, /: [0-9]+ utterances done, [0-9]+ dropped/) {
      pass = substr($0, 1, RSTART - 1)
      sub(/^INFO [(][^)]*[)] /, "", pass)
      split(substr($0, RSTART + 2), count, " ")
      if (!(pass in dropped)) passes[++num_passes] = pass
      total[pass] += count[1] + count[4]
      dropped[pass] += count[4]
      if (count[4] == 0) next
      if (++num_logs[pass] <= 5)
        details[pass] = details[pass] "\n  " FILENAME ": " substr($0, RSTART + RLENGTH + 2)
    }
    END {
      for (log_name in warnings)
        print step ": " warnings[log_name] (warnings[log_name] == 1 ? " warning" : " warnings") " in " log_name
      for (i = 1; i <= num_passes; i++) {
        pass = passes[i]
        if (!dropped[pass]) continue
        print step ": " pass ": " dropped[pass] " of " total[pass] " utterances dropped" details[pass]
        if (num_logs[pass] > 5) print "  and in " num_logs[pass] - 5 " more logs"
        if (dropped[pass] > max_dropped * total[pass]) failed = 1
      }
      exit failed ? 10 : 0
    }' "${@:2}" >&2 || status=$?
  case $status in
    0) ;;
    10) die "the share of dropped utterances is over --max-dropped ($1): mend the data, or allow it with --max-dropped" ;;
    *) die "the logs could not be read (what awk said is above): $(_shown_names "${@:2}")" ;;
  esac
}
