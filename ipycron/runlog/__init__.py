"""What happened: a row for every slot and every call, in one SQLite file.

The process that schedules writes (H4): `recorder` makes rows of notices, `writer` takes
them to the disk on a thread of its own, `store` is the file. Reading is in `records`
and `reading`, and is loaded when it is used.

Not `ipycron.history`: a subpackage would take the place of the function of that name.
"""
