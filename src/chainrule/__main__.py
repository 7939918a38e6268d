"""`python -m chainrule` is the command line, where its script is not on the path."""

from chainrule.cli.main import main

if __name__ == "__main__":
    main()
