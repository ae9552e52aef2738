"""The HTTP surface: closed routers, and callbacks that a signature opens."""
