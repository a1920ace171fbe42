"""What a cell takes along to its worker."""
