#!/usr/bin/env bash
# Splits a Kaldi data directory into parts for parallel jobs, as Kaldi's utils/split_data.sh does:
#   split_data.sh [--per-utt] <data-dir> <num-split>
here=$(dirname "$0")
exec "${DKT_PYTHON:-python3}" -I "$here/split_data.py" "$@"
