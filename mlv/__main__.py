"""`python -m mlv` is the command line."""

from mlv.cli import main

if __name__ == "__main__":
    main()
