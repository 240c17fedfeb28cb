#!/bin/sh
# Python behind Kaldi's name: recipes say --cmd run.pl, which must work unedited with Kaldi and without it.
# -I: a PYTHONPATH set for the job's own sake cannot shadow what the runner imports.
here=$(dirname "$0")
exec "${DKT_PYTHON:-python3}" -I "$here/run.py" "$@"
