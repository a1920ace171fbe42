"""The shell that runs cells."""
