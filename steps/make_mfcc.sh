#!/usr/bin/env bash
# Makes MFCC of a data directory, as Kaldi's script of this name; see make_feats.sh for the options.
exec "$(dirname "${BASH_SOURCE[0]}")/make_feats.sh" mfcc "$@"
