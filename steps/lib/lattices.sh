#!/usr/bin/env bash
# What steps/decode.sh does about the program that decodes, its lattices and their scores; sourced by it after
# common.sh.
# shellcheck disable=SC2154 # variables of the step

# set_search: sets the array search, the program that --latgen asks for: Kaldi's where there is one, else dkt's. Kaldi
# builds it in src/bin; src/latbin, where the other decoders lie, is looked at too.
set_search() {
  local name=latgen-faster-mapped program root=${KALDI_ROOT:-}
  [ "$num_threads" = 1 ] || name+=-parallel
  search=(dkt latgen --max-dropped=1)
  case $latgen in
    auto) [ -n "${KALDI_ROOT:-}" ] || return 0 ;;
    kaldi) ;;
    dkt) return 0 ;;
    *) die "--latgen is '$latgen', expected auto, kaldi or dkt" ;;
  esac
  program=$(command -v "$name" || command -v "$root/src/bin/$name" || command -v "$root/src/latbin/$name") || {
    [ "$latgen" = auto ] ||
      die "no $name on PATH${root:+ or in $root/src/bin}: make it, or say --latgen dkt"
    return 0
  }
  search=("$program")
  [ "$num_threads" = 1 ] || search+=(--num-threads="$num_threads")
}

# set_search_name: sets search_name, the program that the mark tells. --latgen auto keeps the lattices that are there,
# whatever made them: KALDI_ROOT is set in one shell and not in the next.
set_search_name() {
  local made_by=
  [ "$latgen" != auto ] || made_by=$(sed -n 's/^search_name=//p' "$dir/.decode.done" 2>/dev/null) || true
  # shellcheck disable=SC2034 # by its name
  search_name=${made_by:-${search[*]}}
}

# set_search_threads: sets the array search_threads, what --num-threads says to dkt latgen: no part of its name, as
# lattices do not depend on it.
# shellcheck disable=SC2034 # for the step
set_search_threads() {
  search_threads=()
  [ "${search[0]}" != dkt ] || [ "$num_threads" = 1 ] || search_threads=(--num-threads="$num_threads")
}

# verdict: tells what the jobs dropped, and judges what they found.
verdict() {
  local made_files
  tell_losses "${judged_logs[@]}"
  set_made_files "$dir/.decoded.JOB"
  check_decoded "${made_files[@]}"
}

# check_decoded file...: counts the utterances for which the jobs wrote a lattice (keys in these files) against those that
# there are, as a decoder that ends well may have lost all but one. Names those without, and stops if it is too many.
check_decoded() {
  local missing=$dir/log/no_lattice
  local status=0
  missing=$missing awk -v max_dropped="$max_dropped" -v step="$script_name" '
    BEGIN { missing = ENVIRON["missing"] }
    FILENAME == ARGV[1] { utts[++total] = $1; next }
    { decoded[$1] }
    END {
      printf "" >missing
      for (i = 1; i <= total; i++) {
        if (utts[i] in decoded) continue
        print utts[i] >missing
        if (++lost <= 10) names = names " " utts[i]
      }
      print step ": " total - lost " of " total " utterances have a lattice"
      if (lost) print step ": without one:" names (lost > 10 ? " and others, see " missing : "")
      exit lost > max_dropped * total ? 10 : 0
    }' "$data/utt2spk" "$@" >&2 || status=$?
  case $status in
    0) ;;
    10) die "the share of utterances without a lattice is over --max-dropped ($max_dropped), their names are in $missing" ;;
    *) die "what the jobs decoded could not be read, or '$missing' not written (what awk said is above)" ;;
  esac
}

# set_local_score: sets local_score to the local/score.sh of the working directory, if this is a recipe of Kaldi, else
# to nothing.
set_local_score() {
  local_score=
  if [ -n "${KALDI_ROOT:-}" ] && [ -x local/score.sh ]; then local_score=local/score.sh; fi
}

# score_lattices: by local_score, if there is one, else by steps/score.sh, which has a mark of its own.
score_lattices() {
  local options mark=$dir/.local_score.done
  IFS=$' \t\n' read -r -d '' -a options <<<"$scoring_opts" || true
  if [ -n "$local_score" ]; then
    depends_on scoring_opts "$dir"/lat.*.gz "$data/text" "$graph/words.txt" "$local_score"
    if [ "$stage" -le 0 ] && already_done "$mark" "$dir/scoring_kaldi/best_wer"; then return 0; fi
    # Scores change: the marks of others go.
    rm -f "$mark" "$dir/.score.done"
  fi
  "${local_score:-$DKT_ROOT/steps/score.sh}" ${options[@]+"${options[@]}"} --cmd "$cmd" "$data" "$graph" "$dir" ||
    die "scoring failed (--skip-scoring true leaves it out)"
  # A script of the recipe writes what it likes.
  [ -z "$local_score" ] || [ "$stage" -ge 1 ] || [ ! -e "$dir/scoring_kaldi/best_wer" ] || mark_done
}
