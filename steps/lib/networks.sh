#!/usr/bin/env bash
# What the steps share that run the network of $srcdir on a data directory, $data; sourced after common.sh by steps that
# have the options --nj, --use-gpu, --max-dropped, --transform-dir and --ivectors.
# shellcheck disable=SC2154 # variables of the step and of common.sh

# What they tell of those options.
# shellcheck disable=SC2034 # for the steps
network_help="  --use-gpu <how>        yes, no or optional (no)
  --max-dropped <share>  share of utterances that may lack features, all jobs together (0.05)
$speaker_inputs_help"

# require_network [network...]: stops unless there are the network and features to run it on.
require_network() {
  require_files "$data/feats.scp" "$data/utt2spk" "${@:-$srcdir/final.pt}"
  check_share "$max_dropped"
}

# network_of dir: prints the network of a directory: final.pt or, of Kaldi's nnet3 scripts, final.mdl or final.raw. Others
# have a final.mdl too, of another kind.
network_of() {
  local name
  if ! [ -e "$1/final.pt" ] && ! [ -e "$1/final.nnet" ]; then
    for name in final.mdl final.raw; do
      if [ -f "$1/$name" ] && LC_ALL=C grep -aqF '<Nnet3>' -- "$1/$name"; then
        echo "$1/$name"
        return
      fi
    done
  fi
  echo "$1/final.pt"
}

# begin_network_jobs dir log result...: begins the nj jobs of a step that writes in dir, as begin_jobs. Sets sdata, where the
# parts of the data are, and the arrays side and resources, what their commands and the runner are told.
begin_network_jobs() {
  begin_jobs "$nj" "${@:2}"
  sdata=$(make_split "$data" "$nj" "$1") || exit 1
  set_speaker_inputs
  set_resources "$use_gpu"
}
