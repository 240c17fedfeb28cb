#!/usr/bin/env bash
# Looks for faults in every shell script of the checkout, by its name or its first line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts=()
while IFS= read -r -d '' file; do
  case $file in
    *.sh) scripts+=("$file") ;;
    *.*) [[ $file != *.pl ]] || scripts+=("$file") ;;
    *) [[ $(head -c 80 "$file" | tr -d '\0') =~ ^#![^$'\n']*(bash|/sh) ]] && scripts+=("$file") ;;
  esac
done < <(find .ci benchmarks egs local steps tests -type f ! -path '*/exp/*' ! -path '*/data/*' -print0 | LC_ALL=C sort -z)
printf '%s\0' "${scripts[@]}" | xargs -0 -n 1 shellcheck
echo "shellcheck: ${#scripts[@]} scripts"
