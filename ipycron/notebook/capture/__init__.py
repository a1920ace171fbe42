"""What a cell takes along to its worker: its names, their values, its magics.

`names.py` reads the cell's code and executes nothing; `writer.py` pickles the values.
"""
