"""What the project costs and how fast it is, measured: see README.md beside this file."""
