# shellcheck shell=bash
# Finds dkt, sets it up when it is not there yet, and puts its commands and run.pl on PATH.
DKT_ROOT=${DKT_ROOT:-$(CDPATH='' cd -P "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)}
export DKT_ROOT LC_ALL=C
. "$DKT_ROOT/local/setup_env.sh" "${dkt_extras:-standalone,report,synthetic}" || exit 1
. "$DKT_ROOT/steps/lib/common.sh"
