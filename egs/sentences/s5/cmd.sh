# shellcheck shell=bash
# How jobs are run: run.pl on this machine; with Kaldi also queue.pl or slurm.pl and their options.
export train_cmd="${train_cmd:-run.pl}"
export decode_cmd="${decode_cmd:-run.pl}"
