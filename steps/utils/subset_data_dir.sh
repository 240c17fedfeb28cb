#!/usr/bin/env bash
# Makes a data directory of some utterances of another, chosen by chance, as Kaldi's utils/subset_data_dir.sh does:
#   subset_data_dir.sh [--seed <n>] <data-dir> <num-utts> <new-data-dir>
here=$(dirname "$0")
exec "${DKT_PYTHON:-python3}" -I "$here/subset_data_dir.py" "$@"
