"""From audio to features: waves, MFCC and filterbanks, CMVN, deltas, splicing, perturbation."""
