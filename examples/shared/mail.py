"""One mail to one reader, by SMTP. Knows nothing of tasks."""

import smtplib
from email.headerregistry import Address
from email.message import EmailMessage

__all__ = ["TryAgainLater", "send"]


class TryAgainLater(Exception):
    """The server said "not now", or nothing at all."""


def send(port: int, name: str, address: str, subject: str, text: str, number: str, sender: str = "news") -> None:
    """Hand the mail to the server on this machine; `number` tells it from every other mail.

    Raises `TryAgainLater` where the server wants just that, and other `smtplib.SMTPException`s for good.
    """
    message = EmailMessage()
    message["From"] = Address("celeriac", addr_spec=f"{sender}@example.org")
    message["To"] = Address(name, addr_spec=address)
    message["Subject"] = subject
    message["Message-ID"] = f"<{number}@example.org>"
    message.set_content(f"Dear {name},\n\n{text}\n")
    try:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost", timeout=10) as server:
            server.send_message(message)
    except smtplib.SMTPResponseException as exc:
        # 4xx means "not now" and is worth another try; 5xx means "never", and trying again would only annoy.
        if 400 <= exc.smtp_code < 500:
            reply = exc.smtp_error
            raise TryAgainLater(f"{exc.smtp_code} {reply.decode() if isinstance(reply, bytes) else reply}") from exc
        raise
    except (ConnectionError, TimeoutError, smtplib.SMTPServerDisconnected) as exc:
        raise TryAgainLater(f"the mail server on port {port} does not answer: {exc}") from exc
