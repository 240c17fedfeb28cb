#!/usr/bin/env bash
# Compresses what it reads into a file, and sees that the file is whole: gzip_to.sh <file>
set -euo pipefail

{ reason=$(gzip -c 2>&1 >"$1") && reason=$(gzip -t 2>&1 <"$1"); } || {
  status=$?
  reason=${reason##*$'\n'}
  reason=${reason#"$0: line "[0-9]*": "}
  reason=${reason#"$1: "}
  reason=${reason#gzip: std*: }
  # As dkt's programs tell theirs.
  echo "ERROR (gzip_to.sh) '$1' cannot be written: ${reason:-gzip ended with status $status}" >&2
  exit "$status"
}
