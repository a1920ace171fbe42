"""How tasks are shown without widgets: words, text, static HTML, the terminal.

Everything a task wrote is escaped here. Nothing here imports widgets or magics.
"""
