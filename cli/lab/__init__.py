"""Lab files: read with the position of every word, written, and plans as lines of text."""
