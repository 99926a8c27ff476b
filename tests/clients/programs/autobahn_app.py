"""Autobahn's own echo on $PORT. It answers each frame before it reads the next, so what it does is always the same."""

import os

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet import reactor


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        self.sendMessage(payload, isBinary)


def accept(offers):
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None


def listen(port):
    """Where it listens."""
    factory = WebSocketServerFactory()
    factory.protocol = Echo
    factory.setProtocolOptions(failByDrop=False, perMessageCompressionAccept=accept)
    return reactor.listenTCP(port, factory, interface="127.0.0.1").getHost().port


if __name__ == "__main__":
    listen(int(os.environ["PORT"]))
    reactor.run()
