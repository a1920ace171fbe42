"""What a cell captures for its worker: names, their values, magics.

`names.py` reads the cell's code and executes nothing; `writer.py` pickles the values.
"""
