"""Web servers: what they schedule runs, without delaying their exit."""

import signal
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
QUICK = 10.0
"""Seconds from the signal to the end; it takes half a second on a quiet machine, and a
server that waits for its workers' end, as gunicorn does, gives up after thirty."""

MODULE = """
import ipycron
ipycron.schedule("* * * * * *", "tick.py", name="tick")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
"""
LIFESPAN = """
from contextlib import asynccontextmanager
import ipycron
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    ipycron.schedule("* * * * * *", "tick.py", name="tick")
    yield

app = FastAPI(lifespan=lifespan)
"""
WSGI = """
import ipycron
ipycron.schedule("* * * * * *", "tick.py", name="tick")

def app(environ, respond):
    respond("200 OK", [])
    return [b"here"]
"""
FLASK = """
import ipycron
from flask import Flask
ipycron.schedule("* * * * * *", "tick.py", name="tick")
app = Flask(__name__)
if __name__ == "__main__":
    app.run(port=0)
"""
UVICORN_SCRIPT = f"""
import uvicorn
{LIFESPAN}
if __name__ == "__main__":
    uvicorn.run(app, port=0, loop="asyncio")
"""
SERVERS = {
    "uvicorn": (("uvicorn", "--port=0", "app:app"), MODULE),
    "uvicorn uvloop": (("uvicorn", "--port=0", "--loop=uvloop", "app:app"), LIFESPAN),
    "uvicorn lifespan": (("uvicorn", "--port=0", "app:app"), LIFESPAN),
    "uvicorn --reload": (("uvicorn", "--port=0", "--reload", "app:app"), LIFESPAN),
    "uvicorn --workers": (("uvicorn", "--port=0", "--workers=2", "app:app"), MODULE),
    "uvicorn.run": (("python", "app.py"), UVICORN_SCRIPT),
    "gunicorn": (("gunicorn", "-b", "127.0.0.1:0", "-w2", "app:app"), WSGI),
    "gunicorn --preload": (
        ("gunicorn", "-b", "127.0.0.1:0", "-w2", "--preload", "app:app"),
        WSGI,
    ),
    "flask run": (("flask", "run", "-p", "0"), FLASK),
    "flask script": (("python", "app.py"), FLASK),
    "http.server": (
        ("python", "app.py"),
        f"""{WSGI}
from wsgiref.simple_server import make_server
try:
    make_server("127.0.0.1", 0, app).serve_forever()
except KeyboardInterrupt:
    pass
""",
    ),
}


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name
)
@pytest.mark.parametrize("server", SERVERS)
def test_server_runs_its_tasks_and_ends_at_once(start, server, number):
    """On TERM from a service manager, or INT from Ctrl-C; no process is left."""
    (command, *arguments), app = SERVERS[server]
    program = start(BIN / command, *arguments, app=app)
    program.wait_ticks()
    taken = program.end(number)
    program.wait()
    assert taken < QUICK, program.stderr


def test_nothing_of_ours_outlives_a_master_that_is_killed(start):
    """The server's workers notice later; the supervisor notices at once."""
    (command, *arguments), app = SERVERS["gunicorn --preload"]
    program = start(BIN / command, *arguments, app=app)
    program.wait_ticks()
    program.end(signal.SIGKILL)
    program.wait_gone()
