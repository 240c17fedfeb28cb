#!/usr/bin/env bash
# Runs the tests, after setting up on a fresh machine what they need: tests/run.sh [<pytest arguments>]
# DKT_TEST_PROCESSES: how many processes they run in (2).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. local/setup_env.sh standalone,report,synthetic,dev
# Two processes, each with whole modules: what a module sets up is made once.
exec python -m pytest -n "${DKT_TEST_PROCESSES:-2}" --dist loadfile --no-loadscope-reorder "$@"
