"""The shell that runs cells: source, displays, tracebacks, captured variables.

Used in workers, on executors and for inline cells. Importing it does not import
IPython; preparing the shell does.
"""
