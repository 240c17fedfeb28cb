"""What trainings read: utterances, caches, frames, sequences."""
