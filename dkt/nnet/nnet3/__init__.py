"""Networks of Kaldi's nnet3."""
