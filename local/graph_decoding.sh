#!/usr/bin/env bash
# Decoding of networks with the graph of a Kaldi experiment; sourced after network_stages.sh (and realigning.sh) by
# recipes that set, beside what is told there, decode_cmd, graph (empty: nothing is decoded), data_tuning (where LM
# weight and penalty are chosen), data_test (a set, or an array of several), decode_dev and decode_test (what their decode
# directories are called, of as many sets), searched (the systems to decode with; empty: all), beam, lattice_beam,
# max_active, min_active, acwt, lmwts and word_ins_penalties.
# shellcheck disable=SC2154 # variables of the recipe

for system in $searched; do
  [[ " dnn $students ${retrained_students:-} " == *" $system "* ]] || die "--searched: '$system' is not trained"
done
grid="$graph $data_tuning ${data_test[*]} $searched $beam $lattice_beam $max_active $min_active $acwt"
grid+=" $lmwts / $word_ins_penalties"

# _is_decoded system: whether it is to be decoded with.
_is_decoded() { [[ -z "$searched" || " $searched " == *" $1 "* ]]; }

# decoded_networks: the models of those systems that are to be decoded with.
decoded_networks() {
  local system
  for system in dnn $students; do
    ! _is_decoded "$system" || network_files "$system"
  done
}

# decoded_systems: <system>=<directory> of their networks, as network_systems.
decoded_systems() {
  local named system
  while IFS= read -r named; do
    system=${named%%=*}
    ! _is_decoded "${system%"$realigned"}" || echo "$named"
  done < <(network_systems)
}

# decode: the sets of data with them, that of tuning once, however many others there are. Their priors are counts of the
# labels that they were trained on, also where a realignment has left mean posteriors: the order of the stages changes no
# result.
decode() {
  local network networks dir set
  mapfile -t networks < <(decoded_networks)
  for network in ${networks[@]+"${networks[@]}"}; do
    dir=$(dirname "$network")
    for set in "${!data_test[@]}"; do
      "$DKT_ROOT/local/decode_dev_then_test.sh" --nj "$nj" --cmd "$decode_cmd" --lattices true --beam "$beam" \
        --lattice-beam "$lattice_beam" --max-active "$max_active" --min-active "$min_active" --acwt "$acwt" \
        --class-frame-counts "$dir/ali_train_pdf.counts" --lmwts "$lmwts" --word-ins-penalties "$word_ins_penalties" \
        --decode-dev "$decode_dev" --decode-test "${decode_test[set]}" \
        "$graph" "$data_tuning" "${data_test[set]}" "$dir"
    done
  done
}

# decode_results: what it leaves.
decode_results() {
  local network networks name
  mapfile -t networks < <(decoded_networks)
  for network in ${networks[@]+"${networks[@]}"}; do
    for name in "$decode_dev" "${decode_test[@]}"; do
      echo "$(dirname "$network")/$name/scoring_kaldi/best_wer"
    done
  done
}

# check_graph model: stops if the graph is not of this model, whose transition-ids stand for others there.
check_graph() {
  local pdfs
  [ -n "$graph" ] && [ -e "$graph/num_pdfs" ] || return 0
  pdfs=$(dkt hmm-info --print-args=false "$1" | awk '/number of pdfs/ { print $NF }') || exit 1
  [ "$(<"$graph/num_pdfs")" = "$pdfs" ] ||
    die "$graph is of a model of $(<"$graph/num_pdfs") pdfs, $1 has $pdfs: give the graph of that model"
}

# _decoded_lists: what tells of the data that are decoded.
_decoded_lists() {
  local set file
  for set in "$data_tuning" "${data_test[@]}"; do
    for file in "$set"/{feats.scp,text}; do [ ! -e "$file" ] || echo "$file"; done
  done
}

# stage_decode n: with a graph, anew where data have changed. A leaf: no network reads its results.
stage_decode() {
  local networks lists results
  [ -n "$graph" ] || return 0
  mapfile -t networks < <(decoded_networks)
  mapfile -t lists < <(_decoded_lists)
  begin_stage --leaf "$1" "decode" <(echo "$seeds $grid") ${networks[@]+"${networks[@]}"} "${lists[@]}" || return 0
  decode
  mapfile -t results < <(decode_results)
  end_stage "${results[@]}"
}
