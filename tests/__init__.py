import gc
from importlib.util import find_spec

from shared import modules

# Every test, benchmark and attack process imports this package first. The peers of the bench do as well, in an
# environment without our packages.
if find_spec("sqlmodel") is not None:
    is_collecting = gc.isenabled()
    gc.disable()  # what is loaded stays: looking for garbage among it meanwhile takes half a second
    modules.load()
    if is_collecting:
        gc.enable()
