"""What travels between the processes, and how: messages, frames, payloads, outcomes.

Used by both ends of every connection. Nothing here starts a process or runs a job.
"""
