"""The notebook: magics, what a cell takes along, its outputs, the panel."""
