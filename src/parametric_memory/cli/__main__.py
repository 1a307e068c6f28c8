"""`python -m parametric_memory.cli` is `pmem`."""

from parametric_memory.cli import main

main()
