"""Starts launch scripts for `conftest.run_script`: forks of a process that has imported JAX.

Nothing of JAX has run in it, and it has no threads; a script begins as it would in a new process,
two seconds later in its imports. Modules that define flags, as Orbax and Grain, are left to it.
"""

import gc
import importlib
import json
import os
import runpy
import socket
import sys

for name in ("jax", "flax.nnx", "optax"):
    importlib.import_module(name)
gc.freeze()  # a fork collects, and copies, nothing of it
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, streams, _, _ = socket.recv_fds(requests, 1 << 20, 3)
    if not message:
        sys.exit()
    if pid := os.fork():
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(pid, 0)
        requests.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    else:
        break
requests.close()
for number, stream in enumerate(streams):
    os.dup2(stream, number)
    os.close(stream)
request = json.loads(message)
os.chdir(request["cwd"])
os.environ.clear()
os.environ.update(request["environment"])
sys.argv = request["command"]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
