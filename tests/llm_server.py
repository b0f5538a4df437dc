"""A scripted OpenAI-compatible endpoint on localhost, for tests of everything that asks one.

    with Server(answer) as server: ... server.url ... server.bodies

`answer(body)` gets the decoded request and returns a `str` (the completion's text) or what the
functions below make; it runs in the server's threads.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """A raw HTTP answer; `cut` sends only half of the announced body."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False


def completion(text, finish_reason="stop", usage=(10, 5), refusal=None, delay_s=0.0) -> Answer:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    answer = {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if usage:
        answer["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return Answer(json.dumps(answer).encode(), delay_s=delay_s)


def failure(status, message="no", headers=None) -> Answer:
    return Answer(json.dumps({"error": {"message": message}}).encode(), status, headers or {})


class Server:
    """Counts what it is asked: `bodies` and `keys` (Idempotency-Key), in order of arrival."""

    def __init__(self, answer):
        self.bodies, self.keys, self.times = [], [], []
        self.most_at_once = 0
        at_once = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                nonlocal at_once
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    at_once += 1
                    server.most_at_once = max(server.most_at_once, at_once)
                    server.times.append(time.monotonic())
                    server.keys.append(self.headers["Idempotency-Key"])
                    server.bodies.append(body)
                try:
                    self.send(answer(body))
                except OSError:  # the client has gone
                    self.close_connection = True
                finally:
                    with lock:
                        at_once -= 1

            def send(self, reply):
                reply = completion(reply) if isinstance(reply, str) else reply
                time.sleep(reply.delay_s)
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json"} | reply.headers
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
                self.close_connection = reply.cut

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
