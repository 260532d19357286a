import gc
import sys

if "pytest" in sys.modules:
    # Classes and functions by the hundred thousand are made until the tests begin, and Python would search them for garbage again
    # and again; `conftest.py` lets it, once they are there.
    gc.disable()
