"""Word error rates, as Kaldi counts and prints them."""
