"""The thin HTTP client against a server that sends exactly the bytes that it is told to."""

import asyncio

import pytest

from pp_resources.http_pool import Lost, Pool

BODY = b"x" * 3_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def talk(answers, work):
    """Run `work(pool)` against a server that gives each request the next of `answers`; None closes the connection without a word. Returns
    what came of it and how many connections were made."""

    async def main():
        made, left = 0, list(answers)

        async def serve(reader, writer):
            nonlocal made
            made += 1
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    answer = left.pop(0)
                    if answer is not None:
                        writer.write(answer)
                        await writer.drain()
                    if answer is None or not left or b"close" in answer[:80] or answer.endswith(b"CUT"):
                        break
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pool = Pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", most=2)
        try:
            return await work(pool), made
        finally:
            pool.close()
            server.close()

    return asyncio.run(main())


async def get(pool, body=b"{}"):
    answer = await pool.send(pool.head("POST", "/", {"A": "b"}), body, connect=5)
    return answer.status, await answer.read()


async def three(pool):
    return [await get(pool) for _ in range(3)]


def test_one_connection_serves_many_requests():
    assert talk([OK, CHUNKED, OK, OK], three) == ([(200, b"ok"), (200, b"abcde"), (200, b"ok")], 1)


def test_an_answer_may_end_with_its_connection_or_come_after_a_promise():
    closed = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    assert talk([closed, early, OK, OK], three) == ([(200, b"all of it"), (200, b"ok"), (200, b"ok")], 2)


def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew():
    async def work(pool):
        first = await get(pool)
        await asyncio.sleep(0.05)
        return [first, await get(pool)]

    closing = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: close\r\n\r\nok"
    assert talk([closing, OK, OK], work) == ([(200, b"ok")] * 2, 2)


def test_a_large_answer_comes_whole_and_at_the_reader_s_pace():
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

    async def work(pool):
        answer = await pool.send(pool.head("POST", "/", {}), b"", connect=5)
        size = 0
        async for part in answer.chunks():
            size += len(part)
            await asyncio.sleep(0.001)
        return size

    assert talk([large], work) == (len(BODY), 1)


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalCUT", b"no http at all\r\n\r\nCUT"])
def test_an_answer_that_breaks_off_is_an_error_and_the_place_is_free_again(answer):
    async def work(pool):
        failed = 0
        for _ in range(3):
            with pytest.raises(Lost):
                await get(pool)
            failed += 1
        return failed

    assert talk([answer] * 3, work)[0] == 3


def test_no_more_connections_than_allowed_and_none_for_a_cancelled_request():
    async def work(pool):
        async def hangs():
            await pool.send(pool.head("POST", "/", {}), b"", connect=5)

        tasks = [asyncio.create_task(hangs()) for _ in range(2)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await get(pool)

    assert talk([b"", b"", OK], work)[0] == (200, b"ok")


def test_headers_hold_no_line_ends_and_addresses_are_addresses():
    async def work(pool):
        with pytest.raises(ValueError, match="line end"):
            pool.head("POST", "/", {"A": "b\r\nC: d"})
        with pytest.raises(ValueError, match="no address"):
            Pool("ftp://x")

    talk([], work)
