"""The shop's documents."""
