"""Work elsewhere: a pool, a Dask cluster. Imported on demand."""
