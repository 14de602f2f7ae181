"""Names with several addresses of which the first does not work: seconds until there is an answer."""

from functools import partial

from network import BACKEND, SWALLOWING
from proxies import ADMIN_PORT, PORT, Setup
from stage import Case, Measured, Stage

NAME = "llm.test"
SWALLOWS = Setup(NAME, hosts=f"{SWALLOWING} {NAME}\n{BACKEND} {NAME}\n")
REFUSES = Setup(NAME, hosts=f"::1 {NAME}\n127.0.0.1 {NAME}\n")
# RFC 8305 lets the first address have 250 ms.
LIMIT = 1.0
# On a machine that does much else.
QUICK_LIMIT = 3.0


async def answered(path: str, port: int, status: int, stage: Stage) -> Measured:
    stage.begin()
    exchange = await stage.request(path, port)
    came = await exchange.until(rb"HTTP/1\.1 \d+ ")
    return Measured(stage.seconds_since(exchange.sent, came), str(exchange.status or "break"), exchange.status == status)


def _cases(what: str, setup: Setup, is_local: bool) -> list[Case]:
    def case(kind: str, path: str, port: int, status: int) -> Case:
        run = partial(answered, path, port, status)
        return Case(f"{what}: {kind}", setup, run, LIMIT, QUICK_LIMIT, is_local, is_readiness=port == ADMIN_PORT)

    return [
        case("request", "/", PORT, 200),
        case("WebSocket", "/socket", PORT, 101),
        case("/readyz", "/readyz", ADMIN_PORT, 200),
    ]


CASES = [
    *_cases("AAAA swallows, A is good", SWALLOWS, is_local=False),
    *_cases("::1 refuses, 127.0.0.1 is good", REFUSES, is_local=True),
]
