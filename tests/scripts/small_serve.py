"""`python -m tests.scripts.small_serve`: what `make run` starts, with little sample data."""

import typer

from scripts.serve import main
from tests.smallshop import tiny_samples

if __name__ == "__main__":
    with tiny_samples():
        typer.run(main)
