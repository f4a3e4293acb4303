"""`python -m lab.cli` is `leaklab`: servers and workers are started so."""

from lab.cli import main

if __name__ == "__main__":
    main()
