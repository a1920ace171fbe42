"""The card and the panel. Python holds the truth; `view/` in the browser draws it.

It imports anywidget only when something is displayed. All values sent are plain and
bounded; nothing here is HTML.
"""
