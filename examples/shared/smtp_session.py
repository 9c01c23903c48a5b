"""The server's side of one SMTP conversation (RFC 5321, what `smtplib` needs of it), without sockets.

Bytes in, bytes out: whoever owns the connection feeds what arrives to `receive` and sends what it returns. Nothing
here waits or knows the time, so a conversation can be replayed in a test byte by byte.
"""

from collections.abc import Callable

__all__ = ["Decide", "SmtpSession"]

# Takes sender, recipients and message; returns the reply: "250 ..." takes the mail over, "4xx ..." asks to try later.
Decide = Callable[[str, list[str], bytes], str]

LONGEST_LINE = 64 * 1024


class SmtpSession:
    """Greets, collects envelope and message, and asks `decide` what to say to them."""

    greeting = b"220 demo.invalid ESMTP\r\n"

    def __init__(self, decide: Decide) -> None:
        self.closed = False
        self._decide = decide
        self._unread = b""
        self._in_data = False
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._lines: list[bytes] = []

    def receive(self, data: bytes) -> bytes:
        """Take in any piece of the client's stream and return what to send back; maybe nothing yet."""
        *lines, self._unread = (self._unread + data).split(b"\r\n")
        replies = [reply for line in lines if not self.closed and (reply := self._line(line))]
        if len(self._unread) > LONGEST_LINE:
            self.closed = True
            replies.append("500 5.5.2 line too long")
        return "".join(f"{reply}\r\n" for reply in replies).encode("ascii")

    def _line(self, line: bytes) -> str:
        if self._in_data:
            return self._data(line)
        verb, _, rest = line.decode("ascii", "replace").partition(" ")
        match verb.upper():
            case "EHLO" | "HELO":
                self._reset()
                return "250 demo.invalid"
            case "MAIL":
                self._reset()
                self._sender = _address(rest)
                return "250 2.1.0 sender ok"
            case "RCPT" if self._sender is not None:
                self._recipients.append(_address(rest))
                return "250 2.1.5 recipient ok"
            case "DATA" if self._recipients:
                self._in_data = True
                return "354 end with a dot on a line of its own"
            case "RSET":
                self._reset()
                return "250 2.0.0 forgotten"
            case "NOOP":
                return "250 2.0.0 ok"
            case "QUIT":
                self.closed = True
                return "221 2.0.0 bye"
            case "RCPT" | "DATA":
                return "503 5.5.1 MAIL, RCPT, DATA, in this order"
        return "502 5.5.1 unknown command"

    def _data(self, line: bytes) -> str:
        if line != b".":
            # The client doubles a dot at the start of a line, so that no line of the text looks like the end.
            self._lines.append(line.removeprefix(b"."))
            return ""
        self._in_data = False
        reply = self._decide(self._sender or "", self._recipients, b"\r\n".join(self._lines))
        self._reset()
        return reply


def _address(argument: str) -> str:
    """`FROM:<a@b> SIZE=12` -> `a@b`; the null sender `<>` is the empty address."""
    return argument.partition("<")[2].partition(">")[0]
