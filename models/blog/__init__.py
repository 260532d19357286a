"""The publication: categories, tags, posts with their history, and the comments under them."""
