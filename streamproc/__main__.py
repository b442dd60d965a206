"""``python -m streamproc``: the command, where its script is not on the path."""

from streamproc.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
