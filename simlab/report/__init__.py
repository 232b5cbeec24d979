"""A result for people: figures, one self-contained page, and the terminal."""
