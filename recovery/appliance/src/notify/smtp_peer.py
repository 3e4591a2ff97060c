"""A mail server on Debian's aiosmtpd: it takes mail of one user over TLS, and writes each down as a line of JSON."""
import asyncio
import email
import json
import ssl
import sys
from email import policy

from aiosmtpd.smtp import SMTP, AuthResult

mode, user, password = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("p.crt", "p.key")


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=policy.default)
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "id": mail["Message-ID"],
            "auto": mail["Auto-Submitted"],
            "subject": mail["Subject"],
            "text": mail.get_content(),
        }
        with open("mails", "a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        return "250 taken"


def authenticator(server, session, envelope, mechanism, data):
    right = data.login == user.encode() and data.password == password.encode()
    # Not handled here: the server itself answers 535 to who is refused; else nobody would.
    return AuthResult(success=right, handled=False)


def factory():
    more = {"tls_context": context, "require_starttls": True} if mode == "starttls" else {"auth_require_tls": False}
    return SMTP(Handler(), hostname="mail.plant", authenticator=authenticator, auth_required=True, **more)


async def main():
    over = context if mode == "tls" else None
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=over)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
