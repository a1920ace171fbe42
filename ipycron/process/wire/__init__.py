"""What travels between the processes, and how."""
