"""The command line: `python -m rtcstack`."""
