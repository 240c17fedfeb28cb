#!/usr/bin/env bash
# Runs the tests, after setting up on a fresh machine what they need: tests/run.sh [<pytest arguments>]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. local/setup_env.sh standalone,report,synthetic,dev
exec python -m pytest "$@"
