"""What several commands share: options, processors, GPUs."""
