#!/usr/bin/env bash
# What the steps share that score data by a model and search; sourced after common.sh by steps that set srcdir and have
# the options --model, --nnet, --class-frame-counts, --use-gpu, --transform-dir and --ivectors.
# shellcheck disable=SC2154 # variables of the step

# is_network: whether the model to run is a network; a directory without one is that of a GMM.
is_network() { [ -n "$nnet" ] || [ -f "$srcdir/final.pt" ]; }

# set_model: where they were not given, network, transition model and priors are those of $srcdir: mean posteriors
# (of make_priors.sh) come before counts of labels, as in Kaldi's decode.sh.
set_model() {
  model=${model:-$srcdir/final.mdl}
  require_files "$model"
  is_network || return 0
  nnet=${nnet:-$srcdir/final.pt}
  if [ -z "$class_frame_counts" ]; then
    class_frame_counts=$srcdir/ali_train_pdf.counts
    [ ! -f "$srcdir/prior_counts" ] || class_frame_counts=$srcdir/prior_counts
  fi
  require_files "$nnet" "$class_frame_counts"
}

# set_loglikes: sets the array loglikes, the command for log-likelihoods of the pdfs, to be followed by <data> and
# <wspecifier>. A job may lose what it must: the limit is on the sum of all.
set_loglikes() {
  local side
  set_side_inputs
  if is_network; then
    loglikes=(dkt forward --no-softmax=true --class-frame-counts="$class_frame_counts" --use-gpu="$use_gpu"
      --num-threads=1 --max-loss=1 ${side[@]+"${side[@]}"} "$nnet")
  else
    loglikes=(dkt gmm-compute-likes --max-loss=1 ${side[@]+"${side[@]}"} "$model")
  fi
}

# loglikes_rspecifier data: the same as an rspecifier. A shell reads it once more: what is not plain is quoted.
loglikes_rspecifier() {
  local word text=
  for word in "${loglikes[@]}" "$1"; do
    [[ $word =~ ^[A-Za-z0-9_./=-]+$ ]] || word=$(shell_quote "$word")
    text+="$word "
  done
  echo "ark:${text}ark:- |"
}

# clear_decoding: removes what an earlier search left, which would pass for the result of this one if this one failed.
clear_decoding() {
  rm -rf "$dir"/scoring "$dir"/scoring_kaldi "$dir"/wer_* "$dir"/log/decode.[0-9]*.log \
    "$dir"/{,.}lat.*.gz "$dir"/.decoded.*
}

# set_search: sets the array search, the program that --latgen asks for: Kaldi's where there is one, else dkt's. Kaldi
# builds it in src/bin; src/latbin, where the other searches lie, is looked at too.
set_search() {
  local name=latgen-faster-mapped program root=${KALDI_ROOT:-}
  [ "$num_threads" = 1 ] || name+=-parallel
  search=(dkt latgen --max-loss=1)
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

# check_decoded: counts the utterances for which the jobs wrote a lattice (keys in $dir/.decoded.JOB) against those that
# there are, as a search that ends well may have lost all but one. Names those without, and stops if it is too many.
check_decoded() {
  local missing=$dir/log/no_lattice
  awk -v max_loss="$max_loss" -v step="$script_name" -v missing="$missing" '
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
      exit lost > max_loss * total
    }' "$data/utt2spk" "$dir"/.decoded.* >&2 ||
    die "the share of utterances without a lattice is over --max-loss ($max_loss), their names are in $missing"
  rm -f "$dir"/.decoded.*
}

# score_lattices: by local/score.sh of the working directory, if this is a recipe of Kaldi, else by steps/score.sh.
score_lattices() {
  local score=$DKT_ROOT/steps/score.sh
  if [ -n "${KALDI_ROOT:-}" ] && [ -x local/score.sh ]; then score=local/score.sh; fi
  # shellcheck disable=SC2086 # options
  "$score" $scoring_opts --cmd "$cmd" "$data" "$graph" "$dir" ||
    die "scoring failed (--skip-scoring true leaves it out)"
}
