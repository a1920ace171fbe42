"""The worker, and the zygote that it is forked from."""
