"""What Python programs do with dkt beyond reading and writing; ``import dkt`` offers it."""
