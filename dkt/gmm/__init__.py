"""Gaussian mixture models: likelihoods, training, alignment."""
