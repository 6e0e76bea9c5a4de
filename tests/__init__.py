from importlib.util import find_spec

from shared import modules

# Every test, benchmark and attack process imports this package first. The peers of the bench do as well, in an
# environment without our packages.
if find_spec("sqlmodel") is not None:
    modules.load()
