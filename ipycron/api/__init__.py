"""What the user holds: the functions of `import ipycron`, the handle, waiting."""
