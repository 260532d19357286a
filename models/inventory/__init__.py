"""Stock: where it lies, what moved it, what is promised."""
