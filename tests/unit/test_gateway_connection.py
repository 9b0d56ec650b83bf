"""Connections that clients keep: whole answers in one piece, in order, and an end to those that nobody uses."""

import gc
import socket
import time
from collections.abc import Iterator

import pytest
from gateway_place import TEXT, Running, place, running

from pp_gateway.serve.connection import Connection

BODY = b'{"function_name": "toy", "input": "%s"}' % TEXT.encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(place(tmp_path_factory.mktemp("connection"))) as made:
        yield made


def connected(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)


def request(body: bytes = BODY, line: bytes = b"POST /inference", more: bytes = b"") -> bytes:
    head = line + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return head + more + b"\r\n" + body


def until_closed(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_an_answer_arrives_in_one_piece_and_the_connection_is_kept(server):
    with connected(server) as client:
        for _ in range(2):
            client.sendall(request())
            said = client.recv(1 << 16)
            head, _, body = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and b"date: " in head and b"connection" not in head
            assert body.startswith(b"{") and body.endswith(b"}") and b"content-length: %d" % len(body) in head


def test_requests_that_do_not_wait_are_answered_in_order_and_the_last_one_ends_the_connection(server):
    asked = [request(b'{"function_name": "toy", "input": ""}'), request(b"", b"HEAD /live"), request(line=b"POST /nowhere")]
    with connected(server) as client:
        client.sendall(b"".join([*asked, request(more=b"Connection: close\r\n")]))
        said = until_closed(client)
    assert [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]] == [400, 200, 404, 200]
    assert said.count(b"connection: close\r\n") == 1 and said.endswith(b"}")


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(server, monkeypatch):
    monkeypatch.setattr(Connection, "timeout_keep_alive", property(lambda _: 0.4, lambda *_: None), raising=False)
    with connected(server) as client:
        start = time.monotonic()
        for _ in range(4):  # longer than an idle one is kept
            client.sendall(request())
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
            time.sleep(0.2)
        assert client.recv(1 << 16) == b"" and 0.9 < time.monotonic() - start < 5


def test_a_whole_answer_leaves_nothing_to_the_garbage_collector(server):
    with connected(server) as client:
        gc.collect()
        for _ in range(50):
            client.sendall(request(b"", b"GET /live"))
            client.recv(1 << 16)
        gc.collect()
        before = sum(type(one).__name__ == "RequestResponseCycle" for one in gc.get_objects())
        gc.disable()
        try:
            for _ in range(50):
                client.sendall(request(b"", b"GET /live"))
                client.recv(1 << 16)
            assert sum(type(one).__name__ == "RequestResponseCycle" for one in gc.get_objects()) <= before + 1
        finally:
            gc.enable()


def test_who_takes_answers_slowly_gets_all_of_them(server, monkeypatch):
    sent, whole = [], Connection._send_whole
    monkeypatch.setattr(Connection, "_send_whole", lambda *given: sent.append(whole(*given)) or sent[-1])
    with connected(server) as client:
        # More than the system's buffers hold; through a window of 4 kB it took minutes.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        client.sendall(request(b"", b"GET /openapi.json") * 100 + request(b"", b"GET /live", b"Connection: close\r\n"))
        time.sleep(0.5)
        said = until_closed(client)
    assert said.count(b"HTTP/1.1 200") == 101 and False in sent and said.endswith(b'{"live":true}')
