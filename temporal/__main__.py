"""`python -m temporal` is the command `temporal-ops`."""

from temporal.cli import main

if __name__ == "__main__":
    main()
