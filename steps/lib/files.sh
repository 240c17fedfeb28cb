#!/usr/bin/env bash
# Files that the steps write themselves: under their names once they are whole, as a disk may be full; sourced by
# common.sh.

# make_dir dir...: makes directories that are not there yet; stops with a sentence if one cannot be made.
make_dir() {
  local reason
  reason=$(mkdir -p -- "$@" 2>&1) || die "${reason#mkdir: }"
}

# can_write dir: whether files can be made in a directory. Rights do not tell: not on a disk that is read-only or full.
can_write() {
  local file
  file=$(mktemp "$1/.write.XXXXXX" 2>/dev/null) && rm -f "$file"
}

# require_writable data: stops unless the lists of a step can be put into a data directory.
require_writable() {
  can_write "$1" ||
    die "'$1' cannot be written in, and lists of what is made go there: copy it to a place of your own, its files are small"
}

# write_file file command...: writes the output of the command. Stops with the name of the file if that fails.
write_file() {
  local file=$1 partial reason
  partial=$(dirname "$file")/.${file##*/}.partial
  shift
  if reason=$("$@" 2>&1 >"$partial") && reason=$(mv -f "$partial" "$file" 2>&1); then return 0; fi
  rm -f "$partial"
  reason=${reason#*"/files.sh: line "[0-9]*": "}
  die "'$file' cannot be written: ${reason//$'\n'/; }"
}

# copy_file source target: the same of a copy.
copy_file() { write_file "$2" cat "$1"; }

# refuse_other_kinds dir kind [model]: stops if the directory holds something else than what is to be written in it: data,
# targets, or alignments by this final.mdl.
refuse_other_kinds() {
  local said
  said=$("$DKT_PYTHON" -I "$DKT_ROOT/steps/utils/refuse_other_kinds.py" "$@" 2>&1) || die "$said"
}

# set_table_dir variable dir: sets the variable to the whole path of a directory that tables are written in, with scripts
# (ark,scp:a,b) that hold such paths. Stops at a name that they cannot hold.
set_table_dir() {
  local place
  place=$(cd "$2" && pwd) || die "cannot enter the directory '$2'"
  case $place in
    *,* | *$'\n'*) die "'${place//$'\n'/\\n}' holds a comma or a line break: archives with a script (ark,scp:a,b) cannot be there" ;;
    *JOB*) ! _is_option nj || refuse_job_word "$place" ;;
  esac
  printf -v "$1" %s "$place"
}

# set_config_files variable recipe yaml [data...]: sets an array to a configuration and the files that it names, some of
# them in data directories; an empty name if there is no configuration. Stops if it is not one of this recipe (dnn, lstm;
# empty: not looked at).
set_config_files() {
  local named=
  [ -z "$3" ] || named=$(dkt config-files ${2:+--recipe="$2"} "${@:3}") || exit 1
  mapfile -t "$1" <<<"$3${named:+$'\n'$named}"
}

# sort_files file...: their lines in the order of Kaldi.
sort_files() { LC_ALL=C sort "$@"; }
