import gc
import sys

USUAL_THRESHOLD = gc.get_threshold()

if sys.argv[0] == "-m":  # A program of this package is being started, and nothing of it is imported yet.
    # It makes classes by the thousand, and Python would search them for garbage again and again: a quarter of the time until
    # Agora answers.
    gc.set_threshold(50_000, 20, 100)
