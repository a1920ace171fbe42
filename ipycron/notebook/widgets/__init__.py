"""The card and the panel. Python holds the truth; `view/` in the browser draws it.

Imports anywidget only when something is displayed. Values that are sent are plain and
bounded; nothing here is HTML.
"""
