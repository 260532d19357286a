"""Returns: asked for piece by piece, approved, received, put back on the shelf or written off, and paid back."""
