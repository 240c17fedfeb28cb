"""Data looked over before a training."""
