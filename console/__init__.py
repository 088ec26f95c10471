"""What people type and see: the command line, the live view, the pages, the JSON."""

VERSION = "0.1.0"
