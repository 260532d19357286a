"""`python -m tests.scripts.small_serve`: what `make run` starts, with the small sample shop."""

import typer

from scripts.serve import main
from tests.smallshop import small_samples

if __name__ == "__main__":
    with small_samples():
        typer.run(main)
