"""The locks of kept tasks: one for each name, and none when nobody needs it."""

import asyncio
import gc

from ipycron.service.kept import KeptTasks


def test_name_that_nobody_uses_any_more_has_no_lock():
    """Else a service would remember every name that it has ever seen."""

    async def main():
        tasks = KeptTasks()
        for number in range(1000):
            async with tasks.get_lock(f"task {number}"):
                pass
        gc.collect()
        return len(tasks._locks)

    assert asyncio.run(main()) == 0


def test_requests_of_one_name_come_one_after_another():
    """Also where the lock is held by its `async with` and by those who wait alone."""
    inside, most = [], []

    async def use(tasks, name):
        async with tasks.get_lock(name):
            inside.append(name)
            most.append(inside.count(name))
            gc.collect()
            await asyncio.sleep(0)
            inside.remove(name)

    async def main():
        tasks = KeptTasks()
        await asyncio.gather(*(use(tasks, "ab"[n % 2]) for n in range(20)))

    asyncio.run(main())
    assert (len(most), max(most)) == (20, 1)
