"""Three hosts in a row, client, proxy and backend, and the ways in which one of them vanishes."""

from typing import Self

from namespaces import Namespace

# Of the blocks that are for documentation, so that nothing here can be meant for somebody else.
CLIENT, PROXY_TO_CLIENT = "192.0.2.2", "192.0.2.1"
BACKEND, OTHER_BACKEND, PROXY_TO_BACKEND = "198.51.100.2", "198.51.100.3", "198.51.100.1"
# An address on the backend's link that swallows whatever is sent to it.
SWALLOWING, PROXY_TO_SWALLOWING = "2001:db8:2::2", "2001:db8:2::1"
NOBODY = "02:00:00:00:de:ad"


class Network:
    def __init__(self) -> None:
        self.client, self.proxy, self.backend = Namespace(), Namespace(), Namespace()
        self.proxy.ip(
            f"link add client type veth peer name proxy netns {self.client.path}",
            f"link add backend type veth peer name proxy netns {self.backend.path}",
            f"addr add {PROXY_TO_CLIENT}/24 dev client",
            f"addr add {PROXY_TO_BACKEND}/24 dev backend",
            f"addr add {PROXY_TO_SWALLOWING}/64 dev backend nodad",
            "link set client up",
            "link set backend up",
            f"neigh replace {SWALLOWING} lladdr {NOBODY} nud permanent dev backend",
        )
        self.client.ip(f"addr add {CLIENT}/24 dev proxy", "link set proxy up")
        self.backend.ip(f"addr add {BACKEND}/24 dev proxy", f"addr add {OTHER_BACKEND}/24 dev proxy", "link set proxy up")

    def client_vanishes(self) -> None:
        _vanish(CLIENT, self.client, self.proxy, "client")

    def backend_vanishes(self) -> None:
        """Its other address stays."""
        _vanish(BACKEND, self.backend, self.proxy, "backend")

    def backend_forgets(self, port: int) -> None:
        """Swallows what goes back to this port of the proxy: the connection is dead, and new ones work.

        So it is where a node came back behind a translator of addresses or a load balancer, which drops flows that it does
        not know.
        """
        self.backend.ip(f"rule add ipproto tcp dport {port} blackhole")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self.client, self.proxy, self.backend):
            host.close()


def _vanish(address: str, host: Namespace, proxy: Namespace, link: str) -> None:
    """From now on nothing goes out from this address, and what is sent to it goes to a station that does not exist.

    No error comes back of either, and the link stays up.
    """
    proxy.ip(f"neigh replace {address} lladdr {NOBODY} nud permanent dev {link}")
    host.ip(f"rule add from {address} blackhole")
