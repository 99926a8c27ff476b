"""Runs Autobahn's WebSocket suite against a server, as its `wstest --mode fuzzingclient` does, and prints what came of
each case as JSON. The server is that of a URL, or without one autobahn_app.py in this process."""

import json
import sys

import autobahn_app
import python2
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol, connectWS
from autobahn.websocket.protocol import WebSocketProtocol
from python2 import letters, octets
from twisted.internet import reactor

# 9.9 and 9.10 send until somebody fails. Of the megabytes and round trips of 9 it is a choice: Python checks and masks
# them byte by byte. 12 and 13, compression, are bytes like any other for a proxy: see python2.py.
LEFT_OUT = ["9.1.4", "9.1.5", "9.1.6", "9.2.5", "9.2.6"] + [f"9.{series}.*" for series in (3, 4, 5, 6, 7, 8, 9, 10)]
KEPT = ["9.4.8", "9.6.6", "9.7.3", "9.8.6"]
AT_ONCE = 8
# The suite gives a server half a second here and there, which a busy machine may need itself.
LENIENCE = 6


class Fuzzer(WebSocketClientProtocol):
    """A connection for one case, which is given what it expects of one: see the suite's fuzzing.py."""

    def __init__(self, case, done):
        super().__init__()
        self.done = done
        self.connectionWasOpen = False
        self.createWirelog = True
        self.txFrameStats = {}
        self.runCase = case(self)

    def onOpen(self):
        self.connectionWasOpen = True
        self.runCase.onOpen()

    def onMessage(self, payload, isBinary):
        self.runCase.onMessage(letters(payload), isBinary)

    def onPong(self, payload):
        self.runCase.onPong(letters(payload))

    def onClose(self, wasClean, code, reason):
        self.runCase.onClose(wasClean, code, reason)

    def connectionLost(self, reason):
        super().connectionLost(reason)
        self.runCase.onConnectionLost(self.failedByMe)
        self.done([self.runCase.behavior, self.runCase.behaviorClose, self.remoteCloseCode])

    def sendFrame(self, opcode, payload="", **options):
        super().sendFrame(opcode, octets(payload), **options)

    def sendMessage(self, payload, isBinary=False, **options):
        super().sendMessage(octets(payload), isBinary, **options)

    def sendMessageFrameData(self, payload, sync=False):
        super().sendMessageFrameData(octets(payload), sync)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, octets(reasonUtf8), isReply)

    def logTxFrame(self, header, payload, repeatLength, chopsize, sync):
        self.txFrameStats[header.opcode] = self.txFrameStats.get(header.opcode, 0) + 1

    def enableWirelog(self, enable):
        self.createWirelog = enable

    def unlessClosed(self, delay, action):
        reactor.callLater(delay, lambda: None if self.state == WebSocketProtocol.STATE_CLOSED else action())

    def continueLater(self, delay, action, tag=None):
        self.unlessClosed(delay, action)

    def killAfter(self, delay):
        self.unlessClosed(delay * LENIENCE, self._fail_connection)

    def closeAfter(self, delay):
        self.unlessClosed(delay * LENIENCE, self.sendClose)


class Runner:
    def __init__(self, url):
        self.url = url
        self.suite = python2.load()
        chosen = self.suite.parseSpecCases({"cases": ["*"], "exclude-cases": LEFT_OUT})
        self.waiting = KEPT + chosen
        self.found = {}
        self.running = 0

    def go_on(self):
        while self.waiting and self.running < AT_ONCE:
            self.running += 1
            self.start(self.waiting.pop())
        if not self.running:
            reactor.stop()

    def start(self, name):
        def done(outcome):
            self.found[name] = outcome
            self.running -= 1
            self.go_on()

        def build(_):
            protocol = Fuzzer(self.suite.CasesById[name], done)
            protocol.factory = factory
            return protocol

        factory = WebSocketClientFactory(self.url)
        factory.buildProtocol = build
        factory.clientConnectionFailed = lambda _, reason: done(["NO CONNECTION", str(reason.value), None])
        factory.logFrames = True
        # As the suite sets it; what waits for the other side is given more time.
        factory.setProtocolOptions(failByDrop=False, openHandshakeTimeout=60)
        factory.setProtocolOptions(closeHandshakeTimeout=10, serverConnectionDropTimeout=10)
        connectWS(factory)


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else f"ws://127.0.0.1:{autobahn_app.listen(0)}"
    runner = Runner(url)
    reactor.callWhenRunning(runner.go_on)
    reactor.run()
    print(json.dumps(runner.found))


main()
