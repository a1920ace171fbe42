"""What a notebook user sees. It knows the API and nothing of sockets."""
