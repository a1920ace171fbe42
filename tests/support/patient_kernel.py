"""Run by each IPython of the tests when it starts: tasks get time to load their jobs.

As much as in other tests, see `patience` in `conftest.py`: on a busy machine it takes
longer than users want to wait.
"""

import ipycron

for make in (ipycron.create_task, ipycron.schedule):
    make.__kwdefaults__["start_timeout"] = 20.0
del ipycron, make
