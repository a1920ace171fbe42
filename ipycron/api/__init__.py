"""The public interface: functions of `import ipycron`, the `Task` handle, waiting.

Only public names, and what they need to reach the client. The notebook and the command
line use this package as a user would. No state is kept here.
"""
