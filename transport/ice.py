"""Servers on the way to a peer, as aiortc takes them."""

from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy

from common.ice import IceConfig


def configuration(ice: IceConfig | None = None) -> RTCConfiguration:
    """Return how to connect: host candidates only, unless servers are named.

    aiortc's default asks a public server, and waits five seconds for it where there is no way out.
    All media and channels share one transport.
    """
    ice = ice or IceConfig()
    servers = [RTCIceServer(urls=each.url, username=each.username, credential=each.credential) for each in ice.servers]
    policy = RTCIceTransportPolicy.RELAY if ice.relay_only else RTCIceTransportPolicy.ALL
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
