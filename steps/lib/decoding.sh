#!/usr/bin/env bash
# What the steps share that score data by a model and decode; sourced after common.sh by steps that set srcdir and have
# the options --model, --nnet, --class-frame-counts, --use-gpu, --transform-dir and --ivectors.
# shellcheck disable=SC2154 # variables of the step

# is_network: whether the model to run is a network; a directory without one is that of a GMM.
is_network() { [ -n "$nnet" ] || [ -f "$srcdir/final.pt" ]; }

# set_model: where they were not given, network, transition model and priors are those of $srcdir: mean posteriors
# (of make_priors.sh) come before counts of labels, as in Kaldi's decode.sh. Sets the array feature_files, what beside
# a GMM tells its features; a network tells them itself.
set_model() {
  model=${model:-$srcdir/final.mdl}
  require_files "$model"
  feature_files=()
  if ! is_network; then
    # shellcheck disable=SC2034 # for the step
    feature_files=("$(dirname "$model")"/{cmvn_opts,delta_opts,splice_opts,final.mat})
    return 0
  fi
  nnet=${nnet:-$srcdir/final.pt}
  if [ -z "$class_frame_counts" ]; then
    class_frame_counts=$srcdir/ali_train_pdf.counts
    [ ! -f "$srcdir/prior_counts" ] || class_frame_counts=$srcdir/prior_counts
  fi
  require_files "$nnet" "$class_frame_counts"
}

# set_search_inputs: sees that what is searched is there, and calls set_model.
set_search_inputs() {
  require_files "$graph/HCLG.fst" "$graph/words.txt" "$data/feats.scp" "$data/utt2spk"
  check_share "$max_dropped"
  set_model
  check_phones "$graph" "$srcdir"
}

# set_loglikes: sets the array loglikes, the command for log-likelihoods of the pdfs, to be followed by <data> and
# <wspecifier>. A job may lose what it must: the limit is on the sum of all.
set_loglikes() {
  local side
  set_speaker_inputs
  # shellcheck disable=SC2034 # for the step
  if is_network; then
    loglikes=(dkt forward --no-softmax=true --class-frame-counts="$class_frame_counts" --use-gpu="$use_gpu"
      --num-threads=1 --max-dropped=1 ${side[@]+"${side[@]}"} "$nnet")
  else
    loglikes=(dkt gmm-compute-likes --max-dropped=1 ${side[@]+"${side[@]}"} "$model")
  fi
}

# can_score: whether there are transcripts to score by; says so if not.
can_score() {
  [ ! -e "$data/text" ] || return 0
  echo "$script_name: no $data/text: what was found is not scored"
  return 1
}

# clear_scores: removes the scores of an earlier decoding, which would pass for those of this one if this one failed.
clear_scores() {
  rm -rf "$dir"/scoring_kaldi "$dir"/wer_* "$dir"/.{score,local_score}.done
}
