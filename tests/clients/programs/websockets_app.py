"""An echo over WebSockets, on $PORT: with compression, subprotocols and words that make it do something else."""

import asyncio
import http
import os
import signal

from websockets.asyncio.server import serve


def check(connection, request):
    if request.path == "/forbidden":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not here\n")
    return None


async def talk(socket):
    if socket.request.path == "/greet":
        await socket.send("hello")
        # Whoever asks for this does not answer the close that follows.
        socket.close_timeout = 0.1
        return
    async for message in socket:
        if message == "close":
            await socket.close(4001, "as you wish")
        elif message == "path":
            await socket.send(socket.request.path)
        else:
            await socket.send(message)


async def main():
    port = int(os.environ["PORT"])
    async with serve(talk, "127.0.0.1", port, process_request=check, subprotocols=["chat"], max_size=None) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        await server.wait_closed()


asyncio.run(main())
