"""The service, as its clients see it: where it is, what travels, how it is started.

The service itself, which keeps tasks alive without any kernel, is `ipycron.service`.
Its clients and the command line may come in here; nothing here runs or stores a task.
"""
