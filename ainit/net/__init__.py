"""The network service: brings about the ``[network]`` part of the machine configuration.

``links`` decides, ``kernel`` observes and acts through netlink, ``lease`` speaks DHCP, ``sntp``
asks for the time, ``engine`` ties them together. Only ``kernel`` and ``lease`` import pyroute2.
"""
