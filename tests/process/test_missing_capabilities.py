"""Systems that lack what Linux has, or forbid it: workers work all the same."""

import os
import subprocess
import sys
import textwrap

import pytest

HIDE = {
    "missing": """
        import os, socket
        for name in ("eventfd", "memfd_create", "pidfd_open"):
            if hasattr(os, name):
                delattr(os, name)
        for name in ("EFD_CLOEXEC", "EFD_NONBLOCK", "MFD_CLOEXEC", "MFD_ALLOW_SEALING"):
            if hasattr(os, name):
                delattr(os, name)
        if hasattr(socket, "SOCK_SEQPACKET"):
            del socket.SOCK_SEQPACKET
    """,
    "refused": """
        import errno, os, socket
        def refuse(*_, **__):
            raise OSError(errno.ENOSYS, "Function not implemented")
        os.eventfd = os.memfd_create = os.pidfd_open = refuse
        pair = socket.socketpair
        def make_pair(family=None, type=socket.SOCK_STREAM, proto=0):
            if type == socket.SOCK_SEQPACKET:
                refuse()
            return pair(family, type, proto) if family else pair()
        socket.socketpair = make_pair
    """,
    "no proc": """
        import builtins, errno, os
        plain = builtins.open
        def hidden(path):
            return isinstance(path, (str, bytes)) and os.fsencode(path)[:5] == b"/proc"
        def wrap(function):
            def call(path=".", *args, **options):
                if hidden(path):
                    raise FileNotFoundError(errno.ENOENT, "No such file", path)
                return function(path, *args, **options)
            return call
        builtins.open = wrap(builtins.open)
        for name in ("open", "listdir", "readlink", "stat", "scandir"):
            setattr(os, name, wrap(getattr(os, name)))
    """,
}

WORK = """
import sys
import ipycron

def work(size=3):
    return b"x" * 200_000

for launcher in ("fork", "spawn"):
    task = ipycron.create_task("* * * * * *", sys.argv[1], launcher=launcher)
    task.start().result(20)
    sizes = {len(task.execute().result(10)) for _ in range(5)}
    other = ipycron.schedule("0 0 1 1 *", work, background=True, launcher=launcher)
    other.start().result(20)
    print(launcher, sizes, len(other.execute().result(10)))
    task.stop().result(10)
ipycron.shutdown()
print("over")
"""


@pytest.mark.parametrize("kind", HIDE)
def test_workers_do_without_what_the_system_lacks(write, tmp_path, kind):
    """Each capability is tried by using it, here and below."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(HIDE[kind]))
    program = tmp_path / "client.py"
    program.write_text(WORK)
    job = write("def task(): return 'short'")
    done = subprocess.run(
        [sys.executable, program, job],
        capture_output=True,
        text=True,
        timeout=28,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.stdout.splitlines() == [
        "fork {5} 200000",
        "spawn {5} 200000",
        "over",
    ], done
