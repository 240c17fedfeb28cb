"""Lang directories: lexicons, their transducers."""
