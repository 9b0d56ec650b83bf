"""What is written in one turn of the loop goes out at once, whole and in order; what is large does not wait."""

import asyncio
import socket

from gateway_place import TEXT, place, running

from pp_gateway.serve.corked import ENOUGH, _Corked


class Sink(asyncio.Transport):
    """Remembers what is written to it, write by write."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def test_a_turn_is_one_write_and_an_end_loses_nothing():
    async def turns() -> tuple[list[bytes], list[bytes]]:
        sink, ended = Sink(), Sink()
        corked, ending = _Corked(sink), _Corked(ended)
        corked.write(b"head ")
        corked.write(b"body")
        assert sink.writes == [] and corked.get_extra_info("peername") == ("127.0.0.1", 1)
        await asyncio.sleep(0)
        corked.write(b"x" * (ENOUGH + 1))
        assert len(sink.writes) == 2
        ending.write(b"last")
        ending.close()
        ending.write(b"late")
        await asyncio.sleep(0)
        return sink.writes[:1], ended.writes

    assert asyncio.run(turns()) == ([b"head body"], [b"last"])


def test_an_answer_arrives_in_one_piece(tmp_path):
    body = b'{"function_name": "toy", "input": "%s"}' % TEXT.encode()
    head = b"POST /inference HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(place(tmp_path)) as made, socket.create_connection(("127.0.0.1", int(made.url.rpartition(":")[2])), timeout=30) as client:
        client.sendall(head + body)
        said = client.recv(1 << 16)
        assert said.startswith(b"HTTP/1.1 200") and said.endswith(b"}") and b"inference_id" in said
        client.sendall(head + body)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200"), "the connection is kept"
