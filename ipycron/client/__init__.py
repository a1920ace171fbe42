"""The truth behind the handles, in the user's process."""
